using System.Runtime.CompilerServices;
using KeyVa.Measurements;
using OpenTelemetry;
using OpenTelemetry.Exporter;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace KeyVa.Server;

/// <summary>
/// Sends the metrics of the meter <c>KeyVa</c> and the spans of requests by OTLP. A class of its own, so that nothing of OpenTelemetry is loaded where
/// nothing is sent. Disposing sends what is left.
/// </summary>
internal sealed class OtlpExport : IDisposable
{
    private const int ShutdownMilliseconds = 3000;

    private readonly MeterProvider _metrics;
    private readonly TracerProvider _traces;

    private OtlpExport(TelemetryOptions options, Uri endpoint, string version, string instance)
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

    /// <summary>Begins to send.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static OtlpExport Start(TelemetryOptions options, Uri endpoint, string version, string instance) => new OtlpExport(options, endpoint, version, instance);

    public void Dispose()
    {
        _metrics.Shutdown(ShutdownMilliseconds);
        _metrics.Dispose();
        _traces.Shutdown(ShutdownMilliseconds);
        _traces.Dispose();
    }

    private static void Configure(OtlpExporterOptions exporter, TelemetryOptions options, Uri endpoint, string signal)
    {
        bool isHttp = options.OtlpProtocol == OtlpProtocol.HttpProtobuf;
        exporter.Protocol = isHttp ? OtlpExportProtocol.HttpProtobuf : OtlpExportProtocol.Grpc;
        exporter.Endpoint = isHttp ? new Uri(endpoint.AbsoluteUri.TrimEnd('/') + "/v1/" + signal) : endpoint;
    }
}
