using System.Buffers;
using System.Text;
using KeyVa.Io;
using KeyVa.Partitions;
using KeyVa.Tests.Merges;
using Xunit;

namespace KeyVa.Tests.Partitions;

/// <summary>Several merges of a key as one operation of a command.</summary>
public sealed class MergeStackTests
{
    [Fact]
    public void AStackComesBackAsItWas()
    {
        Operation operation = Read(Command(Stack((MergeFunction.Increment, "1"), (new Reverse(300), "longer"), (MergeFunction.Append, ""))), out bool read);
        Assert.True(read);
        Assert.True(operation.IsMerge && MergeStack.Is(operation.Function));
        Assert.Equal(("k", 5000, ConditionKind.IfVersion, 9L), (Encoding.ASCII.GetString(operation.Key), operation.Limit, operation.Condition, operation.ConditionVersion));
        ReadOnlySpan<byte> rest = operation.Value;
        List<string> steps = [];
        while (MergeStack.TryRead(ref rest, out ReadOnlySpan<byte> function, out ReadOnlySpan<byte> operand))
        {
            steps.Add($"{function.Length}:{Encoding.ASCII.GetString(operand)}");
        }

        Assert.True(rest.IsEmpty);
        Assert.Equal(["1:1", "11:longer", "1:"], steps);
    }

    [Fact]
    public void WhatIsNoStackIsNoOperation()
    {
        byte[] whole = Stack((MergeFunction.Increment, "1"), (MergeFunction.Max, "22"));
        for (int length = 0; length < whole.Length; length++)
        {
            // The first merge alone is a stack too.
            Read(Command(whole[..length]), out bool read);
            Assert.Equal(length == 3, read);
        }

        Read(Command([.. whole, MergeStack.Number, 0]), out bool nested);
        Assert.False(nested);
    }

    private static byte[] Stack(params (MergeFunction Function, string Operand)[] merges)
    {
        ArrayBufferWriter<byte> stack = new();
        foreach ((MergeFunction function, string operand) in merges)
        {
            MergeStack.Append(stack, function, Encoding.ASCII.GetBytes(operand));
        }

        return stack.WrittenSpan.ToArray();
    }

    private static byte[] Command(byte[] stack)
    {
        using NativeBuffer buffer = new();
        MergeEncoding.AppendStack(buffer, "k"u8, stack, 5000, new WriteOptions { Condition = Condition.IfVersion(9) });
        return buffer.Written.ToArray();
    }

    private static Operation Read(byte[] command, out bool read)
    {
        ReadOnlySpan<byte> rest = command;
        read = OperationEncoding.TryRead(ref rest, out Operation operation) && rest.IsEmpty;
        return operation;
    }
}
