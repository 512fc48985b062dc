using System.Globalization;
using Google.Protobuf;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Server;

/// <summary>The calls of control.proto about transactions that are under way. Thread-safe.</summary>
internal sealed class TransactionControl(Store store)
{
    /// <summary>Transactions in one answer.</summary>
    internal const int MaxTransactions = 1000;

    private const int MaxLocks = 1000;
    private const int DefaultLocks = 16;

    /// <summary>Answers ListTransactions.</summary>
    internal ValueTask<GrpcResult<ListTransactionsResponse>> ListAsync(ListTransactionsRequest request, GrpcCallContext call)
    {
        if (request.Limit is < 0 or > MaxTransactions || request.Locks is < 0 or > MaxLocks)
        {
            return new(GrpcRefusal.Malformed(call, $"limit must be 1 to {MaxTransactions}, and locks 1 to {MaxLocks}; 0 is for what is usual"));
        }

        ListTransactionsResponse response = new();
        response.Transactions.AddRange(store
            .ListTransactions(request.Limit == 0 ? MaxTransactions : request.Limit, request.Locks == 0 ? DefaultLocks : request.Locks)
            .Select(ToMessage));
        return new(response);
    }

    /// <summary>Answers EndTransaction.</summary>
    internal ValueTask<GrpcResult<EndTransactionResponse>> EndAsync(EndTransactionRequest request, GrpcCallContext call)
    {
        Status status = store.EndTransaction(request.Number);
        string number = request.Number.ToString(CultureInfo.InvariantCulture);
        return status switch
        {
            Status.Ok => new(new EndTransactionResponse()),
            Status.Busy => new(GrpcRefusal.Of(call, status, $"the commit of transaction {number} is on its way: it ends by itself")),
            _ => new(GrpcRefusal.Of(call, status, $"there is no transaction {number} under way; 'keyva admin transactions' lists those that are")),
        };
    }

    private static LiveTransaction ToMessage(TransactionInfo info)
    {
        LiveTransaction message = new()
        {
            Number = info.Number,
            Name = info.Name ?? "",
            AgeMs = (long)info.Age.TotalMilliseconds,
            TimeLeftMs = (long)info.TimeLeft.TotalMilliseconds,
            Isolation = JsonTransaction.Word(info.Isolation),
            Pessimistic = info.Concurrency == Concurrency.Pessimistic,
            ReadOnly = info.IsReadOnly,
            Committing = info.IsCommitting,
            SnapshotVersion = info.SnapshotVersion,
            KeysWritten = info.KeysWritten,
            RangesRemoved = info.RangesRemoved,
            Bytes = info.Bytes,
            LocksHeld = info.LocksHeld,
            WaitsFor = info.WaitsFor is { } waits ? ToMessage(waits) : null,
        };
        message.Locks.AddRange(info.Locks.Select(ToMessage));
        message.BlockedBy.AddRange(info.BlockedBy);
        return message;
    }

    private static HeldLock ToMessage(TransactionLock held)
    {
        ByteString from = UnsafeByteOperations.UnsafeWrap(held.Range.From);
        return held.IsKey
            ? new HeldLock { Key = from, Exclusive = held.IsExclusive }
            : new HeldLock { Range = new Wire.KeyRange { From = from, To = UnsafeByteOperations.UnsafeWrap(held.Range.To) }, Exclusive = held.IsExclusive };
    }
}
