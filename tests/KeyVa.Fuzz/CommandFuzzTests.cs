using System.Buffers;
using System.Text;
using KeyVa.Indexes;
using KeyVa.Io;
using KeyVa.Partitions;
using Xunit;

namespace KeyVa.Fuzz;

/// <summary>
/// Commands and groups of hostile bytes: read or refused, never thrown at, and never a byte outside taken into account.
/// </summary>
public sealed class CommandFuzzTests : Fuzzing
{
    private const int Margin = 64;

    [Fact]
    public void OperationsStayInsideTheirBytes() => Run(40_000, [Operations(1), Operations(2), Operations(3)], static (input, random) =>
        Assert.Equal(InSurroundings(input, random, ReadOperations), InSurroundings(input, random, ReadOperations)));

    [Fact]
    public void GroupsStayInsideTheirBytes() => Run(40_000, [Group(1), Group(3), ShortGroup(0), ShortGroup(1), ShortGroup(3)], static (input, random) =>
        Assert.Equal(InSurroundings(input, random, ReadGroup), InSurroundings(input, random, ReadGroup)));

    // What stands around the bytes differs each time: an answer that depends on it came from reading outside.
    private static string InSurroundings(byte[] input, Random random, Action<ReadOnlySpan<byte>, StringBuilder> read)
    {
        byte[] surroundings = new byte[input.Length + (2 * Margin)];
        random.NextBytes(surroundings);
        input.CopyTo(surroundings.AsSpan(Margin));
        StringBuilder found = new();
        read(surroundings.AsSpan(Margin, input.Length), found);
        return found.ToString();
    }

    private static void ReadOperations(ReadOnlySpan<byte> input, StringBuilder found)
    {
        ReadOnlySpan<byte> rest = input;
        int before = rest.Length;
        while (OperationEncoding.TryRead(ref rest, out Operation operation))
        {
            Inside(input, operation.Key);
            Inside(input, operation.To);
            Inside(input, operation.Value);
            Inside(input, operation.ConditionValue);
            Assert.True(rest.Length < before);
            before = rest.Length;
            if (operation.IsRangeCheck)
            {
                RangeCheck check = RangeCheck.Read(operation);
                Inside(input, check.First);
                Inside(input, check.Last);
                found.Append(check.Digest.Count).Append(check.Digest.Sum).Append(check.IsByHash);
            }

            found.Append(operation.IndexAction).Append(operation.IsSetting).Append(operation.IsMerge).Append(operation.Limit).Append(operation.IsCheck).Append(operation.IsRange).Append(Convert.ToHexString(operation.To)).Append(operation.IsPut).Append(operation.Condition).Append(operation.ConditionVersion).Append(operation.ExpiresAt(77))
                .Append(Convert.ToHexString(operation.Key)).Append(Convert.ToHexString(operation.Value)).Append(Convert.ToHexString(operation.ConditionValue));
        }

        Assert.Equal(before, rest.Length);
        found.Append(rest.Length);
    }

    private static void ReadGroup(ReadOnlySpan<byte> input, StringBuilder found)
    {
        if (!GroupReader.TryOpen(input, out GroupReader group))
        {
            return;
        }

        Assert.True(group.Count >= 0);
        found.Append(group.Version).Append(group.Stamp).Append(group.Count);
        while (group.TryRead(out ReadOnlySpan<byte> command))
        {
            Inside(input, command);
            ReadOperations(command, found);
        }
    }

    private static void Inside(ReadOnlySpan<byte> whole, ReadOnlySpan<byte> part) =>
        Assert.True(part.IsEmpty || (whole.Overlaps(part, out int offset) && offset >= 0 && offset + part.Length <= whole.Length));

    private static byte[] Operations(int count)
    {
        using NativeBuffer buffer = new();
        for (int i = 0; i < count; i++)
        {
            OperationEncoding.AppendPut(
                buffer, Encoding.UTF8.GetBytes($"key{i}"), new byte[i * 90],
                new WriteOptions { Expiry = Expiry.InMilliseconds(5 + i), Condition = Condition.IfValue(new byte[i]) });
            OperationEncoding.AppendPut(buffer, "k"u8, "v"u8, new WriteOptions { Condition = Condition.IfVersion(i) });
            OperationEncoding.AppendRemove(buffer, "gone"u8, Condition.IfPresent, blind: i % 2 == 0);
            MergeEncoding.Append(
                buffer, "merged"u8, i % 2 == 0 ? MergeFunction.SetUnion : new Unknown(), new byte[i * 30],
                new WriteOptions { Expiry = Expiry.InMilliseconds(9), Condition = Condition.IfVersion(i) });
            ArrayBufferWriter<byte> stack = new();
            for (int merge = 0; merge <= i; merge++)
            {
                MergeStack.Append(stack, merge % 2 == 0 ? MergeFunction.Append : new Unknown(), new byte[merge * 20]);
            }

            MergeEncoding.AppendStack(buffer, "stacked"u8, stack.WrittenSpan, 100 + i, new WriteOptions { Condition = Condition.IfVersion(i) });
            CheckEncoding.AppendKey(buffer, "checked"u8, i % 2 == 0 ? Condition.IfVersion(i) : Condition.IfValue(new byte[i]));
            CheckEncoding.AppendRange(buffer, new RangeCheck { From = "a"u8, To = "b"u8, Digest = new RangeDigest { Count = i, Sum = 77 }, IsByHash = i % 2 == 0, First = i % 2 == 0 ? "f"u8 : default, Last = i % 2 == 0 ? "l"u8 : default });
            OperationEncoding.AppendIndex(buffer, IndexAction.Fill, i, "from"u8);
            OperationEncoding.AppendSetting(buffer, "acknowledgement"u8, i % 2 == 0 ? "async"u8 : "default"u8);
            OperationEncoding.AppendRemoveRange(buffer, i % 2 == 0 ? "from"u8 : default, i % 3 == 0 ? "to"u8 : default);
        }

        return buffer.Written.ToArray();
    }

    private sealed class Unknown : MergeFunction
    {
        public override string Name => "unknown";

        public override int Version => 300;

        public override string? Merge(in MergeInput input, IBufferWriter<byte> result) => null;
    }

    private static byte[] ShortGroup(int commands)
    {
        GroupEntry entry = new(1, static () => { });
        entry.Begin(0, 7);
        for (int i = 0; i < commands; i++)
        {
            using CommandBuilder command = new();
            command.Put(Encoding.UTF8.GetBytes($"key{i}"), new byte[i * 90], new WriteOptions { Condition = Condition.IfVersion(i) });
            entry.Add(command);
        }

        entry.Seal(7, 1_700_000_000_000);
        return entry.Content.ToArray();
    }

    private static byte[] Group(int commands)
    {
        using NativeBuffer buffer = new();
        GroupEntry.WriteHeader(buffer.Append(GroupEntry.HeaderBytes), GroupEntry.ExtendedFormat, 7, 1_700_000_000_000, commands);
        for (int i = 0; i < commands; i++)
        {
            byte[] operations = Operations(i + 1);
            buffer.AppendUInt32((uint)operations.Length);
            buffer.Append(operations);
        }

        return buffer.Written.ToArray();
    }
}
