namespace KeyVa.Protocol.Grpc;

/// <summary>The outcome of a call, as numbered by the gRPC status code list (grpc/doc/statuscodes.md).</summary>
public enum GrpcStatusCode
{
    /// <summary>The call succeeded.</summary>
    Ok = 0,
    /// <summary>The call was cancelled, usually by its caller.</summary>
    Cancelled = 1,
    /// <summary>An error without a better name: a handler threw, or a status from elsewhere is not known here.</summary>
    Unknown = 2,
    /// <summary>The request is wrong, whatever state the server is in.</summary>
    InvalidArgument = 3,
    /// <summary>The deadline passed before the call ended.</summary>
    DeadlineExceeded = 4,
    /// <summary>What was asked for does not exist.</summary>
    NotFound = 5,
    /// <summary>What was to be made exists already.</summary>
    AlreadyExists = 6,
    /// <summary>The caller is known and may not do this.</summary>
    PermissionDenied = 7,
    /// <summary>A limit was reached: a quota, a message size, space.</summary>
    ResourceExhausted = 8,
    /// <summary>The state does not allow the call; do not retry until it was changed.</summary>
    FailedPrecondition = 9,
    /// <summary>A conflict with another call; retry at a higher level.</summary>
    Aborted = 10,
    /// <summary>Past a valid range that may grow.</summary>
    OutOfRange = 11,
    /// <summary>The service or method, or the message encoding, is not known here.</summary>
    Unimplemented = 12,
    /// <summary>The wire protocol was broken, or a server invariant.</summary>
    Internal = 13,
    /// <summary>The server cannot be reached or refuses for now; retry with backoff.</summary>
    Unavailable = 14,
    /// <summary>Data was lost or damaged beyond repair.</summary>
    DataLoss = 15,
    /// <summary>The caller did not say convincingly who it is.</summary>
    Unauthenticated = 16,
}

/// <summary>A status code with its message. The default value is <see cref="GrpcStatusCode.Ok"/>.</summary>
/// <param name="code">The code.</param>
/// <param name="message">Text for a person; any Unicode, percent-encoded on the wire.</param>
public readonly struct GrpcStatus(GrpcStatusCode code, string message = "") : IEquatable<GrpcStatus>
{
    private readonly string? _message = message;

    /// <summary>Success.</summary>
    public static GrpcStatus Ok => default;

    /// <summary>The code.</summary>
    public GrpcStatusCode Code { get; } = code;

    /// <summary>Text for a person; empty if there is none.</summary>
    public string Message => _message ?? "";

    /// <summary>Whether the code is <see cref="GrpcStatusCode.Ok"/>.</summary>
    public bool IsOk => Code == GrpcStatusCode.Ok;

    /// <inheritdoc/>
    public bool Equals(GrpcStatus other) => Code == other.Code && Message == other.Message;

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is GrpcStatus other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Code, Message);

    /// <summary>Whether both say the same.</summary>
    public static bool operator ==(GrpcStatus left, GrpcStatus right) => left.Equals(right);

    /// <summary>Whether they differ.</summary>
    public static bool operator !=(GrpcStatus left, GrpcStatus right) => !left.Equals(right);

    /// <inheritdoc/>
    public override string ToString() => Message.Length == 0 ? Code.ToString() : $"{Code}: {Message}";
}
