using KeyVa.Hosting;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace KeyVa.Hosting
{
    /// <summary>
    /// Whether the store reads and writes: of an embedded one, that no failure has stopped it; of a remote one, that its server answers a read.
    /// Damage that a scrub has found degrades it, since only reads that need the bytes fail. Thread-safe.
    /// </summary>
    internal sealed class KeyVaHealthCheck(IStore store) : IHealthCheck
    {
        private static readonly byte[] Probe = "keyva:health"u8.ToArray();

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
                ReadResult read = await store.GetAsync(Probe, cancellationToken).ConfigureAwait(false);
                return read.Status is Status.Ok or Status.NotFound or Status.BadNode
                    ? HealthCheckResult.Healthy()
                    : new HealthCheckResult(context.Registration.FailureStatus, read.Detail ?? read.Status.ToString());
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
