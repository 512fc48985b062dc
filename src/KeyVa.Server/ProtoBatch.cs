using Google.Protobuf.Collections;
using KeyVa.Merges;
using KeyVa.Protocol.V1;

namespace KeyVa.Server;

/// <summary>The write messages of data.proto as a batch of the store, for gRPC and REST alike. Stateless.</summary>
internal static class ProtoBatch
{
    private const string NoKind = "has neither a put, a merge, a remove nor a remove_range";

    /// <summary>Adds puts; false with what is wrong.</summary>
    internal static bool TryAdd(WriteBatch batch, RepeatedField<Put> puts, out string wrong)
    {
        for (int i = 0; i < puts.Count; i++)
        {
            if (!TryAdd(batch, puts[i], out wrong))
            {
                wrong = $"puts[{i}] {wrong}";
                return false;
            }
        }

        wrong = "";
        return true;
    }

    /// <summary>Adds removals; false with what is wrong.</summary>
    internal static bool TryAdd(WriteBatch batch, RepeatedField<Removal> removals, out string wrong)
    {
        for (int i = 0; i < removals.Count; i++)
        {
            if (!TryAdd(batch, removals[i], out wrong))
            {
                wrong = $"removals[{i}] {wrong}";
                return false;
            }
        }

        wrong = "";
        return true;
    }

    /// <summary>Adds operations; false with what is wrong.</summary>
    /// <param name="batch">What they are added to.</param>
    /// <param name="operations">The operations.</param>
    /// <param name="wrong">What is wrong with one.</param>
    /// <param name="functions">The merge functions that may be named; null: KeyVa's own.</param>
    internal static bool TryAdd(WriteBatch batch, RepeatedField<Protocol.V1.Operation> operations, out string wrong, MergeRegistry? functions = null)
    {
        for (int i = 0; i < operations.Count; i++)
        {
            Protocol.V1.Operation operation = operations[i];
            wrong = NoKind;
            bool added = operation.KindCase switch
            {
                Protocol.V1.Operation.KindOneofCase.Put => TryAdd(batch, operation.Put, out wrong),
                Protocol.V1.Operation.KindOneofCase.Remove => TryAdd(batch, operation.Remove, out wrong),
                Protocol.V1.Operation.KindOneofCase.Merge => TryAdd(batch, operation.Merge, functions ?? MergeRegistry.OfBuiltIn, out wrong),
                Protocol.V1.Operation.KindOneofCase.RemoveRange => TryAdd(batch, operation.RemoveRange, out wrong),
                _ => false,
            };
            if (!added)
            {
                wrong = $"operations[{i}] {wrong}";
                return false;
            }
        }

        wrong = "";
        return true;
    }

    /// <summary>Expiry and condition of a put; false with what is wrong.</summary>
    internal static bool TryReadOptions(Put put, out WriteOptions options, out string wrong)
    {
        options = default;
        if (!TryReadExpiry(
                put.ExpiryCase != Put.ExpiryOneofCase.None,
                put.ExpiryCase == Put.ExpiryOneofCase.TtlMs ? put.TtlMs : 0,
                put.ExpiryCase == Put.ExpiryOneofCase.ExpiresAtUnixMs ? put.ExpiresAtUnixMs : 0,
                out Expiry expiry,
                out wrong)
            || !TryReadCondition(put.Condition, out Condition condition, out wrong))
        {
            return false;
        }

        options = new WriteOptions { Expiry = expiry, Condition = condition };
        return true;
    }

    /// <summary>A condition; a missing one is none. False with what is wrong.</summary>
    internal static bool TryReadCondition(Protocol.V1.Condition? message, out Condition condition, out string wrong)
    {
        wrong = "";
        condition = default;
        switch (message?.KindCase ?? Protocol.V1.Condition.KindOneofCase.None)
        {
            case Protocol.V1.Condition.KindOneofCase.IfAbsent:
                condition = Condition.IfAbsent;
                wrong = message!.IfAbsent ? "" : "has if_absent = false; if it is given it must be true";
                break;
            case Protocol.V1.Condition.KindOneofCase.IfPresent:
                condition = Condition.IfPresent;
                wrong = message!.IfPresent ? "" : "has if_present = false; if it is given it must be true";
                break;
            case Protocol.V1.Condition.KindOneofCase.IfVersion:
                condition = Condition.IfVersion(message!.IfVersion);
                break;
            case Protocol.V1.Condition.KindOneofCase.IfValue:
                condition = Condition.IfValue(message!.IfValue.Memory);
                break;
            default:
                break;
        }

        return wrong.Length == 0;
    }

    private static bool TryAdd(WriteBatch batch, Put put, out string wrong)
    {
        if (!TryReadOptions(put, out WriteOptions options, out wrong))
        {
            return false;
        }

        batch.Put(put.Key.Span, put.Value.Span, options);
        return true;
    }

    private static bool TryAdd(WriteBatch batch, Merge merge, MergeRegistry functions, out string wrong)
    {
        long ttl = merge.ExpiryCase == Merge.ExpiryOneofCase.TtlMs ? merge.TtlMs : 0;
        long moment = merge.ExpiryCase == Merge.ExpiryOneofCase.ExpiresAtUnixMs ? merge.ExpiresAtUnixMs : 0;
        if (!TryReadExpiry(merge.ExpiryCase != Merge.ExpiryOneofCase.None, ttl, moment, out Expiry expiry, out wrong)
            || !TryReadCondition(merge.Condition, out Condition condition, out wrong))
        {
            return false;
        }

        MergeFunction? function = merge.FunctionVersion < 0 ? null : functions.Find(merge.Function, merge.FunctionVersion);
        if (function is null)
        {
            wrong = "cannot be done: " + functions.Describe(merge.Function, merge.FunctionVersion);
            return false;
        }

        batch.Merge(merge.Key.Span, function, merge.Operand.Span, new WriteOptions { Expiry = expiry, Condition = condition });
        return true;
    }

    private static bool TryAdd(WriteBatch batch, Removal removal, out string wrong)
    {
        if (!TryReadCondition(removal.Condition, out Condition condition, out wrong))
        {
            return false;
        }

        batch.Remove(removal.Key.Span, condition);
        return true;
    }

    private static bool TryAdd(WriteBatch batch, RangeRemoval removal, out string wrong)
    {
        if (!RangeBounds.TryRead(removal.Prefix.Memory, removal.From.Memory, removal.To.Memory, removal.All, out KeyRange range, out wrong))
        {
            return false;
        }

        batch.RemoveRange(range.From.Span, range.To.Span);
        return true;
    }

    // At most one of the two is above 0; neither, though one was given: it is not positive.
    private static bool TryReadExpiry(bool isGiven, long ttl, long moment, out Expiry expiry, out string wrong)
    {
        expiry = ttl > 0 ? Expiry.InMilliseconds(ttl) : moment > 0 ? Expiry.AtUnixMilliseconds(moment) : Expiry.Never;
        wrong = isGiven && expiry.Milliseconds == 0 ? "has an expiry that is not positive; leave it out for none" : "";
        return wrong.Length == 0;
    }
}
