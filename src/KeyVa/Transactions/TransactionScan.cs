using KeyVa.Engines;
using KeyVa.Partitions;

namespace KeyVa.Transactions;

/// <summary>A scan of a transaction: what is laid over the cursor of each partition, and where is noted what was read.</summary>
internal sealed class TransactionScan
{
    private readonly TransactionBody _body;
    private readonly int _generation;

    public TransactionScan(TransactionBody body)
    {
        _body = body;
        _generation = body.Generation;
        Oracle = body.Live.Oracle;
        if (body.SeesUncommitted)
        {
            Writes = body.Live.CollectUncommitted(body);
        }
        else
        {
            Writes = body.Writes;
        }
    }

    public TransactionBody Body => _body;

    /// <summary>What the scan shows above the store: the transaction's own writes or, if it sees them, everybody's.</summary>
    public WriteSet Writes { get; }

    public VersionOracle Oracle { get; }

    public bool NotesReads => _body.NotesReads;

    public WriteOrder Order(bool byHash) =>
        Writes == _body.Writes ? byHash ? _body.HashOrder : _body.KeyOrder : new WriteOrder(Writes, byHash);

    /// <summary>The transaction runs, and is the one that began the scan; otherwise throws.</summary>
    public void CheckRuns()
    {
        if (_body.Generation != _generation)
        {
            throw new RefusedException(Status.Invalid, "the transaction that the cursor belongs to has ended");
        }

        if (!_body.IsActive)
        {
            throw _body.EndStatus == Status.Ok
                ? new RefusedException(Status.Invalid, "the transaction that the cursor belongs to has ended")
                : new RefusedException(_body.EndStatus, _body.Detail ?? "the transaction was ended");
        }
    }

    /// <summary>The transaction has noted what it read: throws if that is more than it may hold.</summary>
    public void CheckRoom()
    {
        if (_body.IsFull)
        {
            throw new RefusedException(Status.TooLarge, TransactionCommit.TooLarge(_body.Live.StoreOptions.MaxTransactionBytes));
        }
    }

    /// <summary>Whether the transaction is still the one that began the scan.</summary>
    public bool IsCurrent => _body.Generation == _generation;

    public EngineCursor Over(EngineCursor cursor, Partition partition, ScanPlan plan) => new TransactionCursor(this, cursor, partition, plan);
}
