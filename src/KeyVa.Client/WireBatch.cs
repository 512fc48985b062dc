using Google.Protobuf;
using Google.Protobuf.Collections;
using KeyVa.Partitions;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Client;

/// <summary>A batch as messages of data.proto. Stateless.</summary>
internal static class WireBatch
{
    public static void AddTo(RepeatedField<Wire.Operation> operations, WriteBatch batch)
    {
        operations.Capacity = batch.Count;
        ReadOnlySpan<byte> bytes = batch.Commands.Buffer.Written;
        for (int i = 0; i < batch.Count && OperationEncoding.TryRead(ref bytes, out Operation operation); i++)
        {
            operations.Add(operation.IsMerge
                ? new Wire.Operation { Merge = ToMerge(operation, batch.Commands.MergeOf(i)) }
                : ToOperation(operation));
        }
    }

    /// <summary>The wire tells of each removal of a key in order, the interface of each operation.</summary>
    public static bool[] Removed(WriteBatch batch, Wire.WriteResponse response)
    {
        bool[] removed = new bool[batch.Count];
        ReadOnlySpan<byte> bytes = batch.Commands.Buffer.Written;
        int next = 0;
        for (int i = 0; i < removed.Length && OperationEncoding.TryRead(ref bytes, out Operation operation); i++)
        {
            removed[i] = operation.IsRange || (!operation.IsPut && !operation.IsMerge && !operation.IsCheck && next < response.Removed.Count && response.Removed[next++]);
        }

        return removed;
    }

    public static Wire.Put ToPut(in Operation operation) => WireRecord.ToPut(
        ByteString.CopyFrom(operation.Key),
        ByteString.CopyFrom(operation.Value),
        operation.Expiry == 0 ? Expiry.Never
            : operation.IsExpiryRelative ? Expiry.InMilliseconds(operation.Expiry)
            : Expiry.AtUnixMilliseconds(operation.Expiry),
        ToCondition(operation));

    private static Wire.Merge ToMerge(in Operation operation, MergeFunction function)
    {
        Wire.Merge merge = new()
        {
            Key = ByteString.CopyFrom(operation.Key),
            Function = function.Name,
            FunctionVersion = function.Version,
            Operand = ByteString.CopyFrom(operation.Value),
            Condition = ToCondition(operation),
        };
        if (operation.IsExpiryRelative)
        {
            merge.TtlMs = operation.Expiry;
        }
        else if (operation.Expiry != 0)
        {
            merge.ExpiresAtUnixMs = operation.Expiry;
        }

        return merge;
    }

    private static Wire.Condition? ToCondition(in Operation operation) => operation.Condition == ConditionKind.None
        ? null
        : WireRecord.ToCondition(operation.Condition, operation.ConditionVersion, ByteString.CopyFrom(operation.ConditionValue));

    private static Wire.RangeRemoval ToRange(in Operation operation) => new()
    {
        From = ByteString.CopyFrom(operation.Key),
        To = ByteString.CopyFrom(operation.To),
        All = operation.Key.IsEmpty && operation.To.IsEmpty,
    };

    private static Wire.Operation ToOperation(in Operation operation)
    {
        if (operation.IsPut)
        {
            return new Wire.Operation { Put = ToPut(operation) };
        }

        if (operation.IsCheck)
        {
            return new Wire.Operation { Check = new Wire.Check { Key = ByteString.CopyFrom(operation.Key), Condition = ToCondition(operation) } };
        }

        return operation.IsRange
            ? new Wire.Operation { RemoveRange = ToRange(operation) }
            : new Wire.Operation
            {
                Remove = new Wire.Removal { Key = ByteString.CopyFrom(operation.Key), Condition = ToCondition(operation), Blind = operation.IsBlind },
            };
    }
}
