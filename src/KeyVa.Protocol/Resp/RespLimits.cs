namespace KeyVa.Protocol.Resp;

/// <summary>What a <see cref="RespReader"/> takes from a client. Immutable.</summary>
internal sealed record RespLimits
{
    /// <summary>The longest inline command, and the longest line that says how much comes.</summary>
    public const int MaxLineBytes = 64 << 10;

    /// <summary>The longest argument in bytes (Redis: proto-max-bulk-len).</summary>
    public int MaxBulkBytes { get; init; } = 16 << 20;

    /// <summary>Of a client that has not said who it is: little, as with Redis, so that it cannot have memory held for it.</summary>
    public static RespLimits OfStrangers { get; } = new() { MaxBulkBytes = 16_384, MaxArguments = 10, IsOfStrangers = true };

    /// <summary>Whether refusals say that it is for not being known.</summary>
    public bool IsOfStrangers { get; init; }

    /// <summary>The most arguments of a command, its name among them.</summary>
    public int MaxArguments { get; init; } = 1 << 20;

    /// <summary>The longest command in bytes, as it stands on the wire.</summary>
    public int MaxCommandBytes { get; init; } = 64 << 20;
}
