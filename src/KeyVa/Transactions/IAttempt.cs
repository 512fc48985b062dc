namespace KeyVa.Transactions;

/// <summary>A transaction as one attempt of work that is done again if it meets others: an embedded one and a remote one.</summary>
internal interface IAttempt
{
    /// <summary>How it stands when its work is done: null if it is to be committed, Ok if the work has rolled it back.</summary>
    CommitResult? EndOfWork();
}
