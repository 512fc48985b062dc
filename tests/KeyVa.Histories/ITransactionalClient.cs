namespace KeyVa.Histories;

/// <summary>What a read in a transaction found: the list if the outcome is Ok, empty for a key that is not there.</summary>
public readonly record struct ListReply(Outcome Outcome, int[]? List = null)
{
    public static implicit operator ListReply(int[] list) => new(Outcome.Ok, list);
}

/// <summary>
/// One worker's way to a store's transactions; called by one worker at a time, with one transaction at a time. How keys and
/// lists stand in the store is the client's affair, and so is how it appends: by reading the list and writing a longer
/// one, or by an operation of the store's.
/// <para>
/// Every call answers <see cref="Outcome.Ok"/>, <see cref="Outcome.Fail"/> (the transaction is aborted, certainly and for
/// good: conflict, deadlock, refusal) or <see cref="Outcome.Unknown"/> (crash, timeout, broken connection at a moment when the
/// transaction may have committed, or may yet commit). After either of the latter nothing more is asked of this transaction.
/// What a client throws is a bug of the test. A synchronous client returns completed tasks.
/// </para>
/// </summary>
public interface ITransactionalClient
{
    ValueTask<Outcome> BeginAsync();

    ValueTask<ListReply> ReadAsync(int key);

    ValueTask<Outcome> AppendAsync(int key, int value);

    ValueTask<Outcome> CommitAsync();

    /// <summary>Gives the transaction up. Called instead of <see cref="CommitAsync"/>, at the workload's whim.</summary>
    ValueTask<Outcome> AbortAsync();
}
