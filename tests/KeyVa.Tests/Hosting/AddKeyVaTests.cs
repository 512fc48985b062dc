using System.Diagnostics.Metrics;
using System.Text;
using KeyVa.Hosting;
using KeyVa.Measurements;
using KeyVa.Tests.Client;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Xunit;

namespace KeyVa.Tests.Hosting;

/// <summary>A host gets its store from its configuration, or is told what is wrong with that before it starts.</summary>
public sealed class AddKeyVaTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("keyva-test").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task AnEmbeddedStoreOpensWithTheHostAndClosesWithIt()
    {
        string data = Path.Combine(_folder, "data");
        IHost host = Build(new() { ["KeyVa:Data"] = data, ["KeyVa:Durability"] = "interval", ["KeyVa:SyncInterval"] = "00:00:00.050", ["KeyVa:maxvaluebytes"] = "4096" });
        await host.StartAsync();
        IStore store = host.Services.GetRequiredService<IStore>();
        Store embedded = host.Services.GetRequiredService<Store>();
        Assert.Same(store, embedded);
        Assert.Equal((Durability.Interval, TimeSpan.FromMilliseconds(50), 4096), (embedded.Options.Durability, embedded.Options.SyncInterval, embedded.Options.MaxValueBytes));
        await store.UpsertAsync("a"u8.ToArray(), "1"u8.ToArray());
        IMeterFactory meters = host.Services.GetRequiredService<IMeterFactory>();
        Assert.Equal(1, Sets(meters));
        HealthReport report = await host.Services.GetRequiredService<HealthCheckService>().CheckHealthAsync(static check => check.Tags.Contains("ready"));
        Assert.Equal(("keyva", HealthStatus.Healthy), (report.Entries.Single().Key, report.Status));
        await host.StopAsync();
        await ((IAsyncDisposable)host).DisposeAsync();

        // It is closed: another may open it.
        await using Store again = Store.Open(data);
        Assert.Equal("1", Encoding.ASCII.GetString((await again.GetAsync("a"u8.ToArray())).Record.Value.Span));
    }

    [Fact]
    public async Task ARemoteStoreIsTheSameToTheHost()
    {
        await using TestServer server = await TestServer.StartAsync();
        IHost host = Build(new() { ["KeyVa:Server"] = server.Data, ["KeyVa:Control"] = server.Control, ["KeyVa:Deadline"] = "00:00:05", ["KeyVa:ConnectTimeout"] = "00:00:01" });
        await host.StartAsync();
        await host.Services.GetRequiredService<IStore>().UpsertAsync("a"u8.ToArray(), "1"u8.ToArray());
        using (ValueLease lease = server.Server.Store.Get("a"u8))
        {
            Assert.True(lease.Found);
        }
        HealthCheckService health = host.Services.GetRequiredService<HealthCheckService>();
        Assert.Equal(HealthStatus.Healthy, (await health.CheckHealthAsync()).Status);
        InvalidOperationException none = Assert.Throws<InvalidOperationException>(() => host.Services.GetRequiredService<Store>());
        Assert.Contains("IStore", none.Message);
        await server.StopAsync();
        HealthReport report = await health.CheckHealthAsync();
        Assert.Equal(HealthStatus.Unhealthy, report.Status);
        Assert.Contains("127.0.0.1", report.Entries["keyva"].Description);
        await host.StopAsync();
        await ((IAsyncDisposable)host).DisposeAsync();
    }

    [Theory]
    [InlineData("one of both", "KeyVa:Durability", "Always")]
    [InlineData("one of both", "KeyVa:Data", "x", "KeyVa:Server", "127.0.0.1:7401")]
    [InlineData("'KeyVa:Dta'", "KeyVa:Data", "x", "KeyVa:Dta", "y")]
    [InlineData("'KeyVa:Engine' is wrong: 'rocks'", "KeyVa:Data", "x", "KeyVa:Engine", "rocks")]
    [InlineData("'KeyVa:Engine' is wrong: '1'", "KeyVa:Data", "x", "KeyVa:Engine", "1")]
    [InlineData("'KeyVa:SyncInterval'", "KeyVa:Data", "x", "KeyVa:SyncInterval", "soon")]
    [InlineData("'KeyVa:MaxValueBytes'", "KeyVa:Data", "x", "KeyVa:MaxValueBytes", "99999999999")]
    [InlineData("Volatile goes with Engine Memory", "KeyVa:Data", "x", "KeyVa:Volatile", "true")]
    [InlineData("Server is 'here:there'", "KeyVa:Server", "here:there")]
    [InlineData("longer than nothing", "KeyVa:Server", "127.0.0.1:7401", "KeyVa:Deadline", "00:00:00")]
    public async Task AWrongConfigurationStopsTheStartAndIsNamed(string expected, params string[] settings)
    {
        Dictionary<string, string?> values = [];
        for (int i = 0; i < settings.Length; i += 2)
        {
            values[settings[i]] = settings[i + 1];
        }

        IHost host = Build(values);
        OptionsValidationException wrong = await Assert.ThrowsAsync<OptionsValidationException>(() => host.StartAsync());
        Assert.Contains(expected, wrong.Message);
        await ((IAsyncDisposable)host).DisposeAsync();
    }

    [Fact]
    public async Task CodeHasTheLastWord()
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Services.AddKeyVa(options =>
        {
            options.Data = Path.Combine(_folder, "code");
            options.Engine = EngineKind.Memory;
            options.Volatile = true;
            options.ConfigureStore(static store => store with { MaxTransactions = 7 });
        });
        using IHost host = builder.Build();
        await host.StartAsync();
        StoreOptions options = host.Services.GetRequiredService<Store>().Options;
        Assert.Equal((EngineKind.Memory, true, 7), (options.Engine, options.Volatile, options.MaxTransactions));
        await host.StopAsync();
    }

    private static IHost Build(Dictionary<string, string?> settings)
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Logging.ClearProviders();
        builder.Configuration.AddInMemoryCollection(settings);
        builder.Services.AddMetrics();
        builder.Services.AddKeyVa(builder.Configuration.GetSection(KeyVaOptions.Section));
        builder.Services.AddHealthChecks().AddKeyVa();
        return builder.Build();
    }

    private static double Sets(IMeterFactory meters)
    {
        double sets = -1;
        using MeterListener listener = new();
        listener.InstrumentPublished = (instrument, one) =>
        {
            if (instrument.Meter.Scope == meters && instrument.Meter.Name == StoreMeter.Name && instrument.Name == "keyva.sets")
            {
                one.EnableMeasurementEvents(instrument);
            }
        };
        listener.SetMeasurementEventCallback<double>((_, value, _, _) => sets = value);
        listener.Start();
        listener.RecordObservableInstruments();
        return sets;
    }
}
