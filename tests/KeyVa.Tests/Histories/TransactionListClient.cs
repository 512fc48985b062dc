using System.Globalization;
using System.Text;
using KeyVa.Histories;

namespace KeyVa.Tests.Histories;

/// <summary>How transactions append to a list.</summary>
public enum Appends
{
    /// <summary>Get, then put what was read and one more: below repeatable read, updates may be lost.</summary>
    AsRead,

    /// <summary>A get for update, then put.</summary>
    ForUpdate,

    /// <summary>A merge, without a look at the list.</summary>
    Merged,
}

/// <summary>
/// Lists in a store's transactions. Every store that begins an <see cref="ITransaction"/> will do, a remote one too; one that is
/// embedded is called synchronously if it says so.
/// </summary>
internal sealed class TransactionListClient(Func<ValueTask<ITransaction>> begin, Appends appends, bool synchronously) : ITransactionalClient
{
    private static readonly ManualResetEventSlim Never = new();

    private ITransaction? _transaction;

    /// <summary>How long it thinks about what it has read, on a thread of its own: commits of others come between its reads.</summary>
    public TimeSpan ReadTime { get; init; }

    /// <summary>The bytes of a list's key: the first letter goes round, so that a few borders part the lists.</summary>
    public static byte[] Key(int list) => Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{(char)('a' + (list % 3))}{list}"));

    public async ValueTask<Outcome> BeginAsync()
    {
        try
        {
            _transaction = await begin();
            return Outcome.Ok;
        }
        catch (StoreException)
        {
            return Outcome.Fail;
        }
    }

    public ValueTask<ListReply> ReadAsync(int key) => LoadAsync(key, forUpdate: false);

    public async ValueTask<Outcome> AppendAsync(int key, int value)
    {
        if (appends == Appends.Merged)
        {
            byte[] more = Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{value},"));
            return await MergeAsync(Key(key), more) ? Outcome.Ok : await EndAsync(Outcome.Fail);
        }

        ListReply read = await LoadAsync(key, appends == Appends.ForUpdate);
        if (read.Outcome != Outcome.Ok)
        {
            return read.Outcome;
        }

        byte[] longer = Encoding.ASCII.GetBytes(string.Join(',', [.. read.List!, value]));
        return await PutAsync(Key(key), longer) ? Outcome.Ok : await EndAsync(Outcome.Fail);
    }

    public async ValueTask<Outcome> CommitAsync()
    {
        try
        {
            CommitResult result = _transaction is Transaction embedded && synchronously ? embedded.Commit() : await _transaction!.CommitAsync();
            return await EndAsync(result.Status switch
            {
                Status.Ok => Outcome.Ok,
                Status.Failed => Outcome.Unknown,
                _ => Outcome.Fail,
            });
        }
        catch (StoreException)
        {
            return await EndAsync(Outcome.Unknown);
        }
    }

    public async ValueTask<Outcome> AbortAsync() => await EndAsync(Outcome.Ok);

    // Nothing is sent before the commit: what fails earlier is certainly aborted.
    private async ValueTask<ListReply> LoadAsync(int key, bool forUpdate)
    {
        try
        {
            (Status status, byte[] value) = await GetAsync(Key(key), forUpdate);
            switch (status)
            {
                case Status.Ok:
                    return Encoding.ASCII.GetString(value).Split(',', StringSplitOptions.RemoveEmptyEntries).Select(static one => int.Parse(one, CultureInfo.InvariantCulture)).ToArray();
                case Status.NotFound:
                    return new ListReply(Outcome.Ok, []);
                default:
                    return new ListReply(await EndAsync(Outcome.Fail));
            }
        }
        catch (StoreException)
        {
            return new ListReply(await EndAsync(Outcome.Fail));
        }
    }

    private async ValueTask<(Status Status, byte[] Value)> GetAsync(byte[] key, bool forUpdate)
    {
        if (ReadTime > TimeSpan.Zero)
        {
            Never.Wait(ReadTime);
        }

        if (_transaction is Transaction embedded && synchronously)
        {
            using ValueLease lease = forUpdate ? embedded.GetForUpdate(key) : embedded.Get(key);
            return (lease.Status, lease.Found ? lease.Value.ToArray() : []);
        }

        ReadResult read = forUpdate ? await _transaction!.GetForUpdateAsync(key) : await _transaction!.GetAsync(key);
        return (read.Status, read.Status == Status.Ok ? read.Record.Value.ToArray() : []);
    }

    private async ValueTask<bool> PutAsync(byte[] key, byte[] value)
    {
        try
        {
            WriteResult result = _transaction is Transaction embedded && synchronously ? embedded.Put(key, value) : await _transaction!.PutAsync(key, value);
            return result.IsOk;
        }
        catch (StoreException)
        {
            return false;
        }
    }

    private async ValueTask<bool> MergeAsync(byte[] key, byte[] operand)
    {
        try
        {
            WriteResult result = _transaction is Transaction embedded && synchronously
                ? embedded.Merge(key, MergeFunction.Append, operand)
                : await _transaction!.MergeAsync(key, MergeFunction.Append, operand);
            return result.IsOk;
        }
        catch (StoreException)
        {
            return false;
        }
    }

    private async ValueTask<Outcome> EndAsync(Outcome outcome)
    {
        ITransaction transaction = _transaction!;
        _transaction = null;
        await transaction.DisposeAsync();
        return outcome;
    }
}
