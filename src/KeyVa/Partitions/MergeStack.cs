using System.Buffers;
using KeyVa.Io;

namespace KeyVa.Partitions;

/// <summary>
/// Several merges of one key that are done one after the other, as the operand of one merge: what a transaction's commit makes of
/// its merges of a key, since a key stands in a command once.
/// <code>
///   of each merge, in order, at least one:
///     function  as in MergeEncoding, but not a stack again
///     operand   varint length, bytes
/// </code>
/// </summary>
internal static class MergeStack
{
    /// <summary>The number that stands for a function in the journal.</summary>
    public const int Number = 127;

    /// <summary>Appends a merge to a stack.</summary>
    public static void Append(IBufferWriter<byte> stack, MergeFunction function, ReadOnlySpan<byte> operand)
    {
        int functionBytes = MergeEncoding.LengthOf(function);
        int length = functionBytes + Varint.Length((ulong)operand.Length) + operand.Length;
        Span<byte> bytes = stack.GetSpan(length)[..length];
        MergeEncoding.Write(bytes[..functionBytes], function);
        bytes = bytes[functionBytes..];
        operand.CopyTo(bytes[Varint.Write(bytes, (ulong)operand.Length)..]);
        stack.Advance(length);
    }

    /// <summary>Takes the next merge off a stack; false at its end, or if it is damaged.</summary>
    public static bool TryRead(scoped ref ReadOnlySpan<byte> stack, out ReadOnlySpan<byte> function, out ReadOnlySpan<byte> operand)
    {
        operand = default;
        ReadOnlySpan<byte> rest = stack;
        if (!MergeEncoding.TryReadFunction(ref rest, out function) || Is(function) || !OperationEncoding.TryReadBytes(ref rest, out operand))
        {
            return false;
        }

        stack = rest;
        return true;
    }

    /// <summary>Whether the function of a merge, as encoded, says that its operand is a stack.</summary>
    public static bool Is(ReadOnlySpan<byte> function) => Varint.Read(function, out ulong number) > 0 && number == Number;

    /// <summary>Whether bytes are a stack and nothing else.</summary>
    public static bool IsWhole(ReadOnlySpan<byte> stack)
    {
        if (stack.IsEmpty)
        {
            return false;
        }

        while (TryRead(ref stack, out _, out _))
        {
        }

        return stack.IsEmpty;
    }
}
