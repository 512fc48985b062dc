using System.Buffers;
using System.Text;

namespace KeyVa.Tests.Merges;

/// <summary>Calls a merge function on texts.</summary>
internal static class MergeCall
{
    /// <summary>What it made of a value (null: the key is not there); or, behind "!", why it refused.</summary>
    public static string Of(MergeFunction function, string? existing, string operand) =>
        Of(function, existing is null ? null : Encoding.UTF8.GetBytes(existing), Encoding.UTF8.GetBytes(operand));

    public static string Of(MergeFunction function, byte[]? existing, byte[] operand)
    {
        var result = new ArrayBufferWriter<byte>();
        var input = new MergeInput { Key = "key"u8, Exists = existing is not null, Existing = existing, Operand = operand };
        string? refused = function.Merge(input, result);
        return refused is null ? Encoding.UTF8.GetString(result.WrittenSpan) : "!" + refused;
    }
}
