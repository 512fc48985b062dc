using System.Diagnostics.Metrics;
using KeyVa.Measurements;
using OpenTelemetry;
using OpenTelemetry.Exporter;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace KeyVa.Server;

/// <summary>
/// The server's metrics as instruments of the meter <c>KeyVa</c>, and, where the options name an endpoint, their export and that of traces
/// by OTLP. Without an endpoint nothing of OpenTelemetry is loaded. Disposing sends what is left.
/// </summary>
internal sealed class ServerTelemetry : IDisposable
{
    private const int ShutdownMilliseconds = 3000;

    private readonly Meter _meter;
    private readonly MeterProvider? _metrics;
    private readonly TracerProvider? _traces;

    public ServerTelemetry(TelemetryOptions options, MetricList metrics, string instance)
    {
        string version = typeof(ServerTelemetry).Assembly.GetName().Version?.ToString(3) ?? "";
        // Several servers of one process are told apart by it.
        _meter = new Meter(new MeterOptions(StoreMeter.Name) { Version = version, Tags = [new("keyva.instance", instance)] });
        _ = new MetricInstruments(_meter, MetricList.Catalogue(), metrics.Read);
        if (options.OtlpEndpoint is { } endpoint)
        {
            ResourceBuilder resource = ResourceBuilder.CreateDefault().AddService("keyva", serviceVersion: version, serviceInstanceId: instance);
            _metrics = Sdk.CreateMeterProviderBuilder()
                .SetResourceBuilder(resource)
                .AddMeter(StoreMeter.Name)
                .AddOtlpExporter((exporter, reader) =>
                {
                    Configure(exporter, options, endpoint, "metrics");
                    reader.PeriodicExportingMetricReaderOptions.ExportIntervalMilliseconds = (int)options.OtlpInterval.TotalMilliseconds;
                })
                .Build();

            // The tracer samples: what it makes spans of is wanted.
            _traces = Sdk.CreateTracerProviderBuilder()
                .SetResourceBuilder(resource)
                .AddSource(RequestTracer.SourceName)
                .SetSampler(new AlwaysOnSampler())
                .AddOtlpExporter(exporter => Configure(exporter, options, endpoint, "traces"))
                .Build();
        }
    }

    public void Dispose()
    {
        _metrics?.Shutdown(ShutdownMilliseconds);
        _metrics?.Dispose();
        _traces?.Shutdown(ShutdownMilliseconds);
        _traces?.Dispose();
        _meter.Dispose();
    }

    private static void Configure(OtlpExporterOptions exporter, TelemetryOptions options, Uri endpoint, string signal)
    {
        bool isHttp = options.OtlpProtocol == OtlpProtocol.HttpProtobuf;
        exporter.Protocol = isHttp ? OtlpExportProtocol.HttpProtobuf : OtlpExportProtocol.Grpc;
        exporter.Endpoint = isHttp ? new Uri(endpoint.AbsoluteUri.TrimEnd('/') + "/v1/" + signal) : endpoint;
    }
}
