using KeyVa.Client;
using KeyVa.Hosting;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace KeyVa.Hosting
{
    /// <summary>
    /// Whether the store reads and writes: of an embedded one, that no failure has stopped it; of a remote one, that its server says so.
    /// Damage that a scrub has found degrades it, since only reads that need the bytes fail. Thread-safe.
    /// </summary>
    internal sealed class KeyVaHealthCheck(IStore store) : IHealthCheck
    {
        public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
        {
            if (store is Store embedded)
            {
                IReadOnlyList<CorruptionException> damages = embedded.ScrubDamages;
                return embedded.Failure is { } failure ? new HealthCheckResult(context.Registration.FailureStatus, failure.Message, failure)
                    : damages.Count > 0 ? HealthCheckResult.Degraded($"{damages.Count} damaged places, the first in '{damages[0].File}' at offset {damages[0].Offset}")
                    : HealthCheckResult.Healthy();
            }

            try
            {
                return store is not RemoteStore remote || await remote.IsServingAsync(cancellationToken).ConfigureAwait(false)
                    ? HealthCheckResult.Healthy()
                    : new HealthCheckResult(context.Registration.FailureStatus, $"the server at {remote.Address} says that it does not serve; its log says why");
            }
            catch (StoreException failure)
            {
                return new HealthCheckResult(context.Registration.FailureStatus, failure.Message, failure);
            }
        }
    }
}

namespace Microsoft.Extensions.DependencyInjection
{
    /// <summary>Adds KeyVa to the health checks of a host.</summary>
    public static class KeyVaHealthChecksBuilderExtensions
    {
        /// <summary>The tag that the check has unless others are given: it says whether the host is ready, not whether it is alive.</summary>
        public const string ReadyTag = "ready";

        /// <summary>Adds a check of the store that <c>AddKeyVa</c> has added to the services.</summary>
        public static IHealthChecksBuilder AddKeyVa(
            this IHealthChecksBuilder builder, string name = "keyva", HealthStatus? failureStatus = null, IEnumerable<string>? tags = null)
        {
            ArgumentNullException.ThrowIfNull(builder);
            return builder.Add(new HealthCheckRegistration(
                name, static provider => new KeyVaHealthCheck(provider.GetRequiredService<KeyVa.IStore>()), failureStatus, tags ?? [ReadyTag]));
        }
    }
}
