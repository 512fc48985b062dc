using System.Diagnostics.Metrics;
using KeyVa.Client;
using KeyVa.Hosting;
using KeyVa.Measurements;
using Microsoft.Extensions.Caching.Distributed;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Adds KeyVa to the services of a host.</summary>
public static class KeyVaServiceCollectionExtensions
{
    /// <summary>
    /// Adds an <see cref="KeyVa.IStore"/> as configured by a section, usually <c>builder.Configuration.GetSection("KeyVa")</c>: embedded with
    /// <c>Data</c>, remote with <c>Server</c>. It is opened when the host starts, which fails if it cannot be, and closed when the host is
    /// disposed. An embedded store is also there as <see cref="KeyVa.Store"/>, and its figures as the meter <c>KeyVa</c>.
    /// </summary>
    public static IServiceCollection AddKeyVa(this IServiceCollection services, IConfiguration section, Action<KeyVaOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentNullException.ThrowIfNull(section);
        services.AddSingleton<IConfigureOptions<KeyVaOptions>>(new KeyVaOptionsBinding(section));
        return services.AddKeyVa(configure ?? (static _ => { }));
    }

    /// <summary>As the other, configured in code.</summary>
    public static IServiceCollection AddKeyVa(this IServiceCollection services, Action<KeyVaOptions> configure)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentNullException.ThrowIfNull(configure);
        services.AddOptions<KeyVaOptions>().Configure(configure).ValidateOnStart();
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IValidateOptions<KeyVaOptions>, KeyVaOptionsValidation>());
        services.TryAddSingleton(Open);
        services.TryAddSingleton(static provider => provider.GetRequiredService<KeyVa.IStore>() as KeyVa.Store
            ?? throw new InvalidOperationException("the store is on a server; ask for IStore, or configure KeyVa with Data for an embedded one"));
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IHostedService, StoreService>());
        return services;
    }

    /// <summary>
    /// Adds <see cref="IDistributedCache"/> (and IBufferDistributedCache) on the store that <see cref="AddKeyVa(IServiceCollection, IConfiguration, Action{KeyVaOptions})"/>
    /// has added: sessions, output and hybrid caches use it.
    /// </summary>
    public static IServiceCollection AddKeyVaDistributedCache(this IServiceCollection services, Action<KeyVaCacheOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        services.AddOptions<KeyVaCacheOptions>().Configure(configure ?? (static _ => { }));
        services.AddSingleton<IDistributedCache>(static provider => new KeyVaDistributedCache(
            provider.GetRequiredService<KeyVa.IStore>(),
            provider.GetRequiredService<IOptions<KeyVaCacheOptions>>().Value,
            provider.GetService<TimeProvider>() ?? TimeProvider.System));
        return services;
    }

    private static KeyVa.IStore Open(IServiceProvider provider)
    {
        KeyVaOptions options = provider.GetRequiredService<IOptions<KeyVaOptions>>().Value;
        return options.Data is { } data
            ? KeyVa.Store.Open(data, options.ToStoreOptions())
            : RemoteStore.Connect(options.Server!, options.ToRemoteOptions());
    }

    /// <summary>Opens the store when the host starts, and lets its meter go before it.</summary>
    private sealed class StoreService(IServiceProvider provider) : IHostedService, IDisposable
    {
        private StoreMeter? _meter;

        public Task StartAsync(CancellationToken cancellationToken)
        {
            if (provider.GetRequiredService<KeyVa.IStore>() is KeyVa.Store store)
            {
                _meter = new StoreMeter(store, provider.GetService<IMeterFactory>());
            }

            return Task.CompletedTask;
        }

        public Task StopAsync(CancellationToken cancellationToken)
        {
            _meter?.Dispose();
            return Task.CompletedTask;
        }

        public void Dispose() => _meter?.Dispose();
    }
}
