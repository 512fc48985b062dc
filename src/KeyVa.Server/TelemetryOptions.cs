namespace KeyVa.Server;

/// <summary>How log lines are written.</summary>
public enum LogFormat
{
    /// <summary>One line for people.</summary>
    Text,

    /// <summary>One JSON object a line.</summary>
    Json,
}

/// <summary>Which requests are logged one by one.</summary>
public enum OperationLogging
{
    /// <summary>None.</summary>
    Off,

    /// <summary>Those that write.</summary>
    Writes,

    /// <summary>All.</summary>
    All,
}

/// <summary>How telemetry leaves the server by OTLP.</summary>
public enum OtlpProtocol
{
    /// <summary>gRPC, usually on port 4317.</summary>
    Grpc,

    /// <summary>Protobuf over HTTP, usually on port 4318; the path of the signal is added to the endpoint.</summary>
    HttpProtobuf,
}

/// <summary>What a server tells of itself. Immutable; the defaults are those of the schema.</summary>
public sealed record TelemetryOptions
{
    /// <summary>How log lines are written. Default: text.</summary>
    public LogFormat LogFormat { get; init; }

    /// <summary>Which requests are logged one by one. Default: none.</summary>
    public OperationLogging OperationLog { get; init; }

    /// <summary>From when on requests go into the slow log.</summary>
    public SlowThresholds SlowLog { get; init; } = SlowThresholds.Default;

    /// <summary>Requests that the slow log keeps. Default: 128.</summary>
    public int SlowLogLength { get; init; } = 128;

    /// <summary>Where metrics and traces are sent by OTLP; null: nowhere. Default: null.</summary>
    public Uri? OtlpEndpoint { get; init; }

    /// <summary>How. Default: gRPC.</summary>
    public OtlpProtocol OtlpProtocol { get; init; }

    /// <summary>Between two exports of metrics. Default: 10 s.</summary>
    public TimeSpan OtlpInterval { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>False: requests are not even timed. For measuring what that costs, and no setting.</summary>
    internal bool IsObserved { get; init; } = true;

    /// <summary>The part of requests without a trace of their caller's that is traced, 0 to 1. Default: 0, tracing is off.</summary>
    public double TraceSample { get; init; }
}
