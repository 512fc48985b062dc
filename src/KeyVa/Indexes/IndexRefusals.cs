using System.Text;

namespace KeyVa.Indexes;

/// <summary>What callers are told when an index refuses something.</summary>
internal static class IndexRefusals
{
    private const int ShownKeyBytes = 64;

    public static WriteResult LoadOvertaken { get; } = new()
    {
        Status = Status.Busy,
        FailedOperation = -1,
        Detail = "an index was created while the load was under way, and the load would pass it by; load again",
    };

    public static WriteResult NotUnique(int operation, string index, byte[]? other) => new()
    {
        Status = Status.NotUnique,
        FailedOperation = operation,
        Detail = other is null
            ? $"the unique index '{index}' would have one value for two records of the batch"
            : $"the unique index '{index}' has the value already, for key {Show(other)}",
    };

    public static WriteResult NotIndexable(int operation, string index) => new()
    {
        Status = Status.NotIndexable,
        FailedOperation = operation,
        Detail = $"the strict index '{index}' cannot read the value: it is no JSON, or one of its fields is an object or an array, or too long",
    };

    public static WriteResult MergeAcross(int operation, string index) => new()
    {
        Status = Status.Unsupported,
        FailedOperation = operation,
        Detail = $"the store has several partitions and the unique index '{index}': whether others have what a merge comes to cannot be known before it is done; read the record and put it under a condition",
    };

    public static string RollBack(string index) =>
        $"the index '{index}' is unique or strict, and what was there before may not be there again; drop it, roll back, and create it anew";

    public static string Show(ReadOnlySpan<byte> key)
    {
        ReadOnlySpan<byte> shown = key[..Math.Min(key.Length, ShownKeyBytes)];
        string text = shown.ContainsAnyExceptInRange((byte)' ', (byte)'~') ? $"0x{Convert.ToHexString(shown)}" : $"'{Encoding.ASCII.GetString(shown)}'";
        return shown.Length < key.Length ? $"{text}..." : text;
    }
}
