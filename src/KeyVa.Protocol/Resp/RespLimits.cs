namespace KeyVa.Protocol.Resp;

/// <summary>What a <see cref="RespReader"/> takes from a client. Immutable.</summary>
internal sealed record RespLimits
{
    /// <summary>The longest inline command, and the longest line that says how much comes.</summary>
    public const int MaxLineBytes = 64 << 10;

    /// <summary>The longest argument in bytes (Redis: proto-max-bulk-len).</summary>
    public int MaxBulkBytes { get; init; } = 16 << 20;

    /// <summary>The most arguments of a command, its name among them.</summary>
    public int MaxArguments { get; init; } = 1 << 20;

    /// <summary>The longest command in bytes, as it stands on the wire.</summary>
    public int MaxCommandBytes { get; init; } = 64 << 20;
}
