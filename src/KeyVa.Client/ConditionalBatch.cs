using Google.Protobuf;
using Google.Protobuf.Collections;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Client;

/// <summary>
/// A whole transaction in one call (<see cref="RemoteStore.TransactAsync"/>): conditions on keys, reads and writes that are done if
/// all of them hold, and, behind <see cref="Otherwise"/>, those that are done if one does not. Not thread-safe.
/// </summary>
public sealed class ConditionalBatch
{
    private bool _isOtherwise;

    internal Wire.TransactRequest Request { get; } = new();

    /// <summary>Adds a condition, wherever in the batch.</summary>
    public ConditionalBatch If(ReadOnlySpan<byte> key, Condition condition)
    {
        if (condition.Kind == ConditionKind.None)
        {
            throw new ArgumentException("there is no condition to check", nameof(condition));
        }

        Request.Conditions.Add(new Wire.Check { Key = ByteString.CopyFrom(key), Condition = WireRecord.ToCondition(condition) });
        return this;
    }

    /// <summary>What follows is done if one of the conditions does not hold.</summary>
    public ConditionalBatch Otherwise()
    {
        _isOtherwise = true;
        return this;
    }

    /// <summary>Reads a key, with what stands before written.</summary>
    public ConditionalBatch Get(ReadOnlySpan<byte> key) => Add(new Wire.Step { Get = ByteString.CopyFrom(key) });

    /// <summary>Writes a key; if a condition of its own does not hold, nothing of the whole batch happens.</summary>
    public ConditionalBatch Put(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, WriteOptions options = default) => Add(new Wire.Operation
    {
        Put = WireRecord.ToPut(ByteString.CopyFrom(key), ByteString.CopyFrom(value), options.Expiry, WireRecord.ToCondition(options.Condition)),
    });

    /// <summary>
    /// Makes a key's value from the one that it has and an operand; if the function refuses, nothing of the whole batch happens. Unless a
    /// condition or a get of the batch names the key, it never makes the server do the batch again.
    /// </summary>
    public ConditionalBatch Merge(ReadOnlySpan<byte> key, MergeFunction function, ReadOnlySpan<byte> operand, WriteOptions options = default)
    {
        using WriteBatch batch = new();
        batch.Merge(key, function, operand, options);
        RepeatedField<Wire.Operation> operations = [];
        WireBatch.AddTo(operations, batch);
        return Add(operations[0]);
    }

    /// <summary>Removes a key, without a look whether it is there.</summary>
    public ConditionalBatch Remove(ReadOnlySpan<byte> key, Condition condition = default) => Add(new Wire.Operation
    {
        Remove = new Wire.Removal { Key = ByteString.CopyFrom(key), Condition = WireRecord.ToCondition(condition), Blind = true },
    });

    /// <summary>Removes a range, with what stands before written into it; empty bounds are open.</summary>
    public ConditionalBatch RemoveRange(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to) => Add(new Wire.Operation
    {
        RemoveRange = new Wire.RangeRemoval { From = ByteString.CopyFrom(from), To = ByteString.CopyFrom(to), All = from.IsEmpty && to.IsEmpty },
    });

    private ConditionalBatch Add(Wire.Operation operation) => Add(new Wire.Step { Write = operation });

    private ConditionalBatch Add(Wire.Step step)
    {
        (_isOtherwise ? Request.Otherwise : Request.Then).Add(step);
        return this;
    }
}

/// <summary>How a <see cref="ConditionalBatch"/> ended.</summary>
public readonly struct ConditionalResult
{
    /// <summary><see cref="Status.Ok"/>, whichever of the two was done; anything else: nothing happened (but see <see cref="Status.Failed"/>).</summary>
    public Status Status { get; init; }

    /// <summary>Whether all conditions held.</summary>
    public bool Succeeded { get; init; }

    /// <summary>The version at which it was written; 0 if nothing was.</summary>
    public long Version { get; init; }

    /// <summary>What was read, in order: each key with its record, null where it is not there.</summary>
    public IReadOnlyList<KeyValuePair<ReadOnlyMemory<byte>, Record?>> Records { get; init; }

    /// <summary>The step that was refused, counted from 0 in what was done; -1 if none.</summary>
    public int FailedStep { get; init; }

    /// <summary>For a person: why it was refused; null when done.</summary>
    public string? Detail { get; init; }
}
