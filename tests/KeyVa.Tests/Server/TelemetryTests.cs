using System.Collections.Concurrent;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Text;
using KeyVa.Client;
using KeyVa.Measurements;
using KeyVa.Server;
using KeyVa.Tests.Client;
using KeyVa.Tests.Resp;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Xunit;

namespace KeyVa.Tests.Server;

/// <summary>What a server tells of itself: instruments, exports, spans, lines.</summary>
public sealed class TelemetryTests
{
    [Fact]
    public async Task EveryMetricIsAnInstrumentWithTheSameValue()
    {
        await using TestServer server = await TestServer.StartAsync();
        for (int i = 0; i < 25; i++)
        {
            server.Server.Store.Upsert(Encoding.ASCII.GetBytes($"k{i}"), "value"u8);
        }

        await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
        await client.CallAsync("GET", "k1");
        Dictionary<string, double> measured = Measure(meter => meter.Name == StoreMeter.Name
            && meter.Tags?.Any(tag => tag.Value is string instance && instance.EndsWith($":{server.Server.RestAddress.Port}", StringComparison.Ordinal)) == true);
        string[] expected = [.. MetricList.Catalogue().Select(static metric => metric.Suffix.Length > 0 ? MetricInstruments.CountOf(metric.Family) : metric.Family.Instrument).Distinct()];
        Assert.Equal([], expected.Where(name => !name.StartsWith("keyva.index.", StringComparison.Ordinal) && !measured.Keys.Any(key => key.Split(' ')[0] == name)));
        Assert.Equal(25, measured["keyva.sets"]);
        Assert.Equal(1, measured["keyva.request.count door=resp operation=get"]);
        Assert.True(measured["keyva.request.duration door=resp operation=get quantile=0.99"] > 0);
        Assert.Equal(25 * 5, measured["keyva.partition.value_size partition=1"]);
    }

    [Fact]
    public async Task AnEmbeddedStoreHasAMeterOfItsOwn()
    {
        string folder = Directory.CreateTempSubdirectory("keyva-test").FullName;
        await using ServiceProvider services = new ServiceCollection().AddMetrics().BuildServiceProvider();
        IMeterFactory meters = services.GetRequiredService<IMeterFactory>();
        Store store = Store.Open(folder, new StoreOptions { JournalSegmentBytes = 1 << 20 });
        using (new StoreMeter(store, meters))
        {
            store.Upsert("a"u8, "12345"u8);
            Dictionary<string, double> measured = Measure(meter => meter.Scope == meters);
            Assert.Equal(1, measured["keyva.sets"]);
            Assert.Equal(5, measured["keyva.value_size"]);
        }

        Assert.Empty(Measure(meter => meter.Scope == meters));
        await store.DisposeAsync();
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task MetricsAndTracesAreExportedOverHttp()
    {
        await using OtlpReceiver receiver = await OtlpReceiver.StartAsync();
        await using TestServer server = await TestServer.StartAsync(telemetry: new TelemetryOptions
        {
            OtlpEndpoint = receiver.Address,
            OtlpProtocol = OtlpProtocol.HttpProtobuf,
            OtlpInterval = TimeSpan.FromMilliseconds(100),
            TraceSample = 1,
        });
        await using RemoteStore store = server.Connect();
        await store.UpsertAsync("a"u8.ToArray(), "1"u8.ToArray());
        await receiver.WaitAsync("/v1/metrics", "keyva.partition.keys");
        await server.StopAsync();
        await receiver.WaitAsync("/v1/traces", "grpc upsert");
        await receiver.WaitAsync("/v1/traces", "log sync");
    }

    [Fact]
    public async Task ATraceOfTheCallersGoesOnThroughQueueLogAndEngine()
    {
        ConcurrentQueue<Activity> ended = [];
        using ActivityListener listener = ListenTo(ended);
        await using TestServer server = await TestServer.StartAsync(telemetry: new TelemetryOptions { TraceSample = 1e-12 });
        using HttpClient http = new() { BaseAddress = new Uri($"http://{server.Server.RestAddress}") };
        ActivityTraceId trace = ActivityTraceId.CreateRandom();
        using HttpRequestMessage request = new(HttpMethod.Put, "/kv/a") { Content = new StringContent("1") };
        request.Headers.Add("traceparent", $"00-{trace}-{ActivitySpanId.CreateRandom()}-01");
        await http.SendAsync(request);

        // Not sampled by its caller, and not of the one in a billion.
        using HttpRequestMessage unsampled = new(HttpMethod.Put, "/kv/a") { Content = new StringContent("1") };
        unsampled.Headers.Add("traceparent", $"00-{ActivityTraceId.CreateRandom()}-{ActivitySpanId.CreateRandom()}-00");
        await http.SendAsync(unsampled);
        await http.GetStringAsync("/kv/a");
        Activity[] spans = [.. ended.Where(span => span.TraceId == trace)];
        Assert.Equal(["rest upsert", "partition queue", "log append", "log sync", "engine apply"], spans.OrderBy(static span => span.Parent is null ? 0 : 1).ThenBy(static span => span.StartTimeUtc).Select(static span => span.OperationName));
        Activity door = spans.Single(static span => span.OperationName == "rest upsert");
        Assert.Equal("204", door.GetTagItem("keyva.outcome"));
        Assert.All(spans.Where(span => span != door), span =>
        {
            Assert.Equal(door.SpanId, span.ParentSpanId);
            Assert.True(span.StartTimeUtc >= door.StartTimeUtc && span.StartTimeUtc + span.Duration <= door.StartTimeUtc + door.Duration + TimeSpan.FromMicroseconds(2), span.OperationName);
        });
        Assert.Null(Activity.Current);
    }

    /// <summary>What came before the engine, and the engine: over each front door, within the span of the request.</summary>
    [Fact]
    public async Task ReadsHaveTheirParts()
    {
        ConcurrentQueue<Activity> ended = [];
        using ActivityListener listener = ListenTo(ended);
        await using TestServer server = await TestServer.StartAsync(telemetry: new TelemetryOptions { TraceSample = 1 });
        using HttpClient http = new() { BaseAddress = new Uri($"http://{server.Server.RestAddress}") };
        server.Server.Store.Upsert("a"u8, "1"u8);
        await PartsOfAsync("rest get", () => http.GetStringAsync("/kv/a"));
        await PartsOfAsync("rest scan", () => http.GetStringAsync("/kv"));
        await using RemoteStore store = server.Connect();
        await PartsOfAsync("grpc get", async () => await store.GetAsync("a"u8.ToArray()));
        await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
        await PartsOfAsync("resp get", () => client.CallAsync("GET", "a"));
        await PartsOfAsync("resp get", () => client.CallAsync("STRLEN", "a"));

        // Another test's requests have listeners' attention too: of all spans of this kind, each has its parts.
        async Task PartsOfAsync(string name, Func<Task> read)
        {
            HashSet<Activity> before = [.. ended];
            await read();
            Activity? door = null;
            SpinWait.SpinUntil(() => (door = ended.FirstOrDefault(span => span.OperationName == name && !before.Contains(span))) is not null, TimeSpan.FromSeconds(20));
            Assert.True(door is not null, name);
            Activity[] parts = [.. ended.Where(span => span.ParentSpanId == door.SpanId).OrderBy(static span => span.StartTimeUtc)];
            Assert.Equal(["read wait", "engine read"], parts.Select(static span => span.OperationName));
            Assert.All(parts, span =>
                Assert.True(span.StartTimeUtc >= door.StartTimeUtc && span.StartTimeUtc + span.Duration <= door.StartTimeUtc + door.Duration + TimeSpan.FromMicroseconds(2), span.OperationName));
            Assert.True(parts[0].StartTimeUtc + parts[0].Duration <= parts[1].StartTimeUtc + TimeSpan.FromMicroseconds(2), "one behind the other");
        }
    }

    [Fact]
    public async Task OperationsAreLoggedIfAskedForAndNeverWithValues()
    {
        LineLog log = new();
        await using TestServer server = await TestServer.StartAsync(telemetry: new TelemetryOptions { OperationLog = OperationLogging.Writes }, logs: log);
        using HttpClient http = new() { BaseAddress = new Uri($"http://{server.Server.RestAddress}") };
        await http.PutAsync("/kv/rest-key", new StringContent("confidential"));
        await http.GetAsync("/kv/rest-key");
        await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
        await client.CallAsync("SET", "resp-key", "confidential");
        await client.CallAsync("APPEND", "other-key", "confidential");
        await client.CallAsync("GET", "resp-key");
        string[] lines = [.. log.Lines.Where(static line => line.StartsWith("KeyVa.Operations", StringComparison.Ordinal))];
        Assert.Collection(
            lines,
            static line => Assert.Matches(@"rest upsert PUT /kv/rest-key: 204 in \d+ µs, from 127\.0\.0\.1:\d+", line),
            static line => Assert.Matches(@"resp upsert SET resp-key: ok in \d+ µs", line),
            static line => Assert.Matches(@"resp write APPEND other-key: ok in \d+ µs", line));
        await using RemoteControl control = server.ConnectControl();
        await control.ChangeSettingAsync("operation-log", "all");
        await client.CallAsync("GET", "resp-key");
        Assert.Contains(log.Lines, static line => line.Contains("resp get GET resp-key: ok", StringComparison.Ordinal));
        Assert.DoesNotContain(log.Lines, static line => line.Contains("confidential", StringComparison.Ordinal));
    }

    [Fact]
    public async Task SlowRequestsAreLoggedTenTimesASecondAtMost()
    {
        LineLog log = new();
        Assert.True(SlowThresholds.TryParse("0", out SlowThresholds? all));
        await using TestServer server = await TestServer.StartAsync(telemetry: new TelemetryOptions { SlowLog = all }, logs: log);
        await using RespSocket client = await RespSocket.ConnectAsync(server.Server.RespAddress);
        Stopwatch watch = Stopwatch.StartNew();
        for (int i = 0; i < 300; i++)
        {
            await client.CallAsync("GET", "a");
        }

        int lines = log.Lines.Count(static line => line.StartsWith("KeyVa.Slow", StringComparison.Ordinal));
        Assert.InRange(lines, 1, 10 * (2 + (int)watch.Elapsed.TotalSeconds));
    }

    [Fact]
    public async Task LinesAreJsonIfAskedFor()
    {
        ProcessStartInfo start = new(
            Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? Environment.ProcessPath!,
            [
                Path.Combine(AppContext.BaseDirectory, "KeyVa.Cli.dll"), "serve", "--volatile", "true", "--engine", "memory", "--data", Path.Combine(Path.GetTempPath(), $"keyva-{Guid.NewGuid():N}"),
                "--log-format", "json", "--rest-listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0", "--resp-listen", "127.0.0.1:0",
            ])
        { RedirectStandardError = true, RedirectStandardOutput = true };
        foreach (string name in start.Environment.Keys.Where(static name => name.StartsWith("KEYVA_", StringComparison.Ordinal)).ToArray())
        {
            start.Environment.Remove(name);
        }

        using Process process = Process.Start(start)!;
        string? line = await process.StandardError.ReadLineAsync();
        process.Kill();
        await process.WaitForExitAsync();
        System.Text.Json.JsonElement entry = System.Text.Json.JsonDocument.Parse(line!).RootElement;
        Assert.Equal("KeyVa.Server", entry.GetProperty("Category").GetString());
        Assert.Equal("rest", entry.GetProperty("State").GetProperty("Listener").GetString());
    }

    private static Dictionary<string, double> Measure(Func<Meter, bool> isWanted)
    {
        Dictionary<string, double> measured = new(StringComparer.Ordinal);
        using MeterListener listener = new();
        listener.InstrumentPublished = (instrument, one) =>
        {
            if (isWanted(instrument.Meter))
            {
                one.EnableMeasurementEvents(instrument);
            }
        };
        listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) =>
        {
            StringBuilder name = new(instrument.Name);
            foreach (KeyValuePair<string, object?> tag in tags)
            {
                name.Append(' ').Append(tag.Key).Append('=').Append(tag.Value);
            }

            measured[name.ToString()] = value;
        });
        listener.Start();
        listener.RecordObservableInstruments();
        return measured;
    }

    /// <summary>Notes the requests' spans as they end.</summary>
    private static ActivityListener ListenTo(ConcurrentQueue<Activity> ended)
    {
        ActivityListener listener = new()
        {
            ShouldListenTo = static source => source.Name == RequestTracer.SourceName,
            Sample = static (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllDataAndRecorded,
            ActivityStopped = ended.Enqueue,
        };
        ActivitySource.AddActivityListener(listener);
        return listener;
    }

    private sealed class LineLog : ILoggerFactory
    {
        public ConcurrentQueue<string> Lines { get; } = [];

        public ILogger CreateLogger(string categoryName) => new Category(this, categoryName);

        public void AddProvider(ILoggerProvider provider)
        {
        }

        public void Dispose()
        {
        }

        private sealed class Category(LineLog log, string name) : ILogger
        {
            public IDisposable? BeginScope<TState>(TState state)
                where TState : notnull => null;

            public bool IsEnabled(LogLevel logLevel) => true;

            public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
                log.Lines.Enqueue($"{name}: {formatter(state, exception)}");
        }
    }

    /// <summary>Takes what is exported by OTLP over HTTP. What is in it is looked for as text: names stand in protobuf as they are.</summary>
    private sealed class OtlpReceiver : IAsyncDisposable
    {
        private readonly WebApplication _app;
        private readonly Dictionary<string, StringBuilder> _bodies = [];
        private readonly SemaphoreSlim _came = new(0);

        private OtlpReceiver(WebApplication app) => _app = app;

        public Uri Address => new(_app.Urls.First());

        public static async Task<OtlpReceiver> StartAsync()
        {
            WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
            builder.WebHost.UseUrls("http://127.0.0.1:0");
            builder.Logging.ClearProviders();
            OtlpReceiver receiver = new(builder.Build());
            receiver._app.MapPost("/v1/{signal}", receiver.TakeAsync);
            await receiver._app.StartAsync();
            return receiver;
        }

        public async Task WaitAsync(string path, string text)
        {
            while (true)
            {
                lock (_bodies)
                {
                    if (_bodies.TryGetValue(path, out StringBuilder? body) && body.ToString().Contains(text, StringComparison.Ordinal))
                    {
                        return;
                    }
                }

                Assert.True(await _came.WaitAsync(TimeSpan.FromSeconds(20)), $"nothing at {path} has {text}");
            }
        }

        public ValueTask DisposeAsync() => _app.DisposeAsync();

        private async Task TakeAsync(HttpContext context)
        {
            using MemoryStream body = new();
            await context.Request.Body.CopyToAsync(body);
            lock (_bodies)
            {
                if (!_bodies.TryGetValue(context.Request.Path, out StringBuilder? all))
                {
                    _bodies[context.Request.Path] = all = new StringBuilder();
                }

                all.Append(Encoding.Latin1.GetString(body.ToArray()));
            }

            _came.Release();
        }
    }
}
