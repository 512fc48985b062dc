using System.Buffers;

namespace KeyVa.Tests.Merges;

/// <summary>A program's own function: the operand, one way or the other around depending on the version.</summary>
internal sealed class Reverse(int version = 1) : MergeFunction
{
    public override string Name => "reverse";

    public override int Version => version;

    public override string? Merge(in MergeInput input, IBufferWriter<byte> result)
    {
        if (input.Operand.IsEmpty)
        {
            result.Write("half-way"u8);
            return "there is nothing to turn";
        }

        byte[] bytes = [.. input.Operand, .. input.Existing];
        if (version > 1)
        {
            Array.Reverse(bytes);
        }

        result.Write(bytes);
        return null;
    }
}

/// <summary>A function with a bug: it throws when told to.</summary>
internal sealed class Throwing(bool throws) : MergeFunction
{
    public override string Name => "my.own_function-2";

    public override string? Merge(in MergeInput input, IBufferWriter<byte> result)
    {
        if (throws)
        {
            throw new FormatException("no such day");
        }

        result.Write(input.Operand);
        return null;
    }
}

/// <summary>A function under any name and version.</summary>
internal sealed class Named(string name, int version = 1) : MergeFunction
{
    public override string Name => name;

    public override int Version => version;

    public override string? Merge(in MergeInput input, IBufferWriter<byte> result) => null;
}

/// <summary>Cancels something when it is called; the operand is the value.</summary>
internal sealed class Cancelling(CancellationTokenSource source) : MergeFunction
{
    public override string Name => "cancelling";

    public override string? Merge(in MergeInput input, IBufferWriter<byte> result)
    {
        source.Cancel();
        result.Write(input.Operand);
        return null;
    }
}

/// <summary>Does something when it is called; the operand is the value.</summary>
internal sealed class Calling(Action call) : MergeFunction
{
    public override string Name => "calling";

    public override string? Merge(in MergeInput input, IBufferWriter<byte> result)
    {
        call();
        result.Write(input.Operand);
        return null;
    }
}
