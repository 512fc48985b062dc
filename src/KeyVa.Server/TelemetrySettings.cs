using System.Globalization;

namespace KeyVa.Server;

/// <summary>The settings of logs, metrics and traces: a part of <see cref="SettingsSchema"/>. Stateless.</summary>
internal static class TelemetrySettings
{
    private static readonly TelemetryOptions Defaults = new();

    /// <summary>In the order in which they are explained.</summary>
    public static Setting[] All { get; } =
    [
        SettingsSchema.Word("log-format", "How log lines are written: for people, or one JSON object a line.",
            [("text", LogFormat.Text), ("json", LogFormat.Json)],
            static (options, format) => options with { Telemetry = options.Telemetry with { LogFormat = format } }),
        SettingsSchema.Word("operation-log", "Which requests are logged one by one, at level information: keys, outcome and time, never values.",
            [("off", OperationLogging.Off), ("writes", OperationLogging.Writes), ("all", OperationLogging.All)],
            static (options, logged) => options with { Telemetry = options.Telemetry with { OperationLog = logged } }).AtRunTime(),
        SlowLog().AtRunTime(),
        SettingsSchema.Number("slow-log-length", Defaults.SlowLogLength, 0, Server.SlowLog.MostEntries, "Requests that the slow log keeps; the oldest go first.",
            static (ServerOptions options, int count) => options with { Telemetry = options.Telemetry with { SlowLogLength = count } }).AtRunTime(),
        Endpoint(),
        SettingsSchema.Word("otlp-protocol", "How metrics and traces are sent: gRPC, or protobuf over HTTP.",
            [("grpc", OtlpProtocol.Grpc), ("http", OtlpProtocol.HttpProtobuf)],
            static (options, protocol) => options with { Telemetry = options.Telemetry with { OtlpProtocol = protocol } }),
        SettingsSchema.Duration("otlp-interval", Defaults.OtlpInterval, 100, 3600 * 1000, "Between two exports of metrics.",
            static (ServerOptions options, TimeSpan time) => options with { Telemetry = options.Telemetry with { OtlpInterval = time } }),
        Sample().AtRunTime(),
    ];

    private static Setting SlowLog() => SettingsSchema.Text(
        "slow-log", Defaults.SlowLog.Text, SlowThresholds.Forms,
        "From which time on requests are kept in the slow log.",
        static (options, text) => SlowThresholds.TryParse(text, out SlowThresholds? thresholds)
            ? options with { Telemetry = options.Telemetry with { SlowLog = thresholds } }
            : null);

    private static Setting Endpoint() => SettingsSchema.Text(
        "otlp-endpoint", "none", "none, or an http or https address, such as http://127.0.0.1:4317",
        "Where metrics and traces are sent by OTLP. Headers, such as a token, are taken from the variable OTEL_EXPORTER_OTLP_HEADERS.",
        static (options, text) =>
        {
            if (text == "none")
            {
                return options with { Telemetry = options.Telemetry with { OtlpEndpoint = null } };
            }

            return Uri.TryCreate(text, UriKind.Absolute, out Uri? endpoint) && endpoint.Scheme is "http" or "https" && endpoint.UserInfo.Length == 0
                ? options with { Telemetry = options.Telemetry with { OtlpEndpoint = endpoint } }
                : null;
        });

    private static Setting Sample() => SettingsSchema.Text(
        "trace-sample", "0", "a number from 0 to 1, such as 0.01",
        "The part of requests that is traced, where their caller does not say; 0: tracing is off, also for those whose caller traces.",
        static (options, text) => double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double part) && part is >= 0 and <= 1
            ? options with { Telemetry = options.Telemetry with { TraceSample = part } }
            : null);
}
