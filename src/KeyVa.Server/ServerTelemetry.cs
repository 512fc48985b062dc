using System.Diagnostics.Metrics;
using KeyVa.Measurements;

namespace KeyVa.Server;

/// <summary>
/// The server's metrics as instruments of the meter <c>KeyVa</c>, and their export if the options name an endpoint. Disposing sends what is left.
/// </summary>
internal sealed class ServerTelemetry : IDisposable
{
    private readonly Meter _meter;
    private readonly OtlpExport? _export;

    public ServerTelemetry(TelemetryOptions options, MetricList metrics, string instance)
    {
        string version = typeof(ServerTelemetry).Assembly.GetName().Version?.ToString(3) ?? "";

        // Several servers of one process are told apart by it.
        _meter = new Meter(new MeterOptions(StoreMeter.Name) { Version = version, Tags = [new("keyva.instance", instance)] });
        _ = new MetricInstruments(_meter, MetricList.Catalogue(), metrics.Read);
        _export = options.OtlpEndpoint is { } endpoint ? OtlpExport.Start(options, endpoint, version, instance) : null;
    }

    public void Dispose()
    {
        _export?.Dispose();
        _meter.Dispose();
    }
}
