using KeyVa.Protocol.Resp;
using KeyVa.Server.Identity;
using KeyVa.Transactions;

namespace KeyVa.Server.Resp;

/// <summary>
/// What commands read and write keys with: the store itself, or a transaction. A refusal (a value that is too long, a partition that is not here) is
/// noted, and takes the place of whatever the command replies. One thread at a time.
/// </summary>
internal sealed class DataCall(RespDoor door, RespOutput output)
{
    /// <summary>Where the reply goes.</summary>
    public RespOutput Output { get; } = output;

    public RespDoor Door { get; } = door;

    /// <summary>What the session may do with keys.</summary>
    public Rights Rights { get; set; } = Rights.Nothing;

    /// <summary>Null: reads go to the store, and there is nothing to write with.</summary>
    public Transaction? Transaction { get; private set; }

    /// <summary>Milliseconds since 1970-01-01 UTC; the same for all commands of a transaction.</summary>
    public long Now { get; private set; }

    /// <summary>Begins a command, or several in a transaction.</summary>
    public void Begin(Transaction? transaction)
    {
        Transaction = transaction;
        Now = Door.Now();
    }

    /// <summary>Runs one command; if it is refused, replies why, and nothing of it is written.</summary>
    public void Run(CommandInfo info, RespCommand command)
    {
        int place = Output.Length;
        WriteSet.Mark before = Transaction?.Mark() ?? default;
        _refused = Status.Ok;
        info.Data!(this, command);
        if (_refused != Status.Ok)
        {
            Output.Truncate(place);
            Output.Error(RespErrors.Of(_refused, _detail));
            Transaction?.TakeBackTo(before);
        }
    }

    /// <summary>Reads a key; dispose the lease before the next call. A key that nobody could have written is not there.</summary>
    public ValueLease Read(scoped ReadOnlySpan<byte> key)
    {
        ValueLease lease = Transaction is { } transaction ? transaction.Get(key) : Door.Store.Get(key);
        if (lease.Status is not (Status.Ok or Status.NotFound or Status.Invalid or Status.TooLarge))
        {
            Refuse(lease.Status, null);
        }

        return lease;
    }

    /// <summary>The value of a key and when it expires (0: never); null: it is not there.</summary>
    public byte[]? ReadCopy(ReadOnlySpan<byte> key, out long expiresAt)
    {
        using ValueLease lease = Read(key);
        expiresAt = lease.ExpiresAtUnixMilliseconds;
        return lease.Found ? lease.Value.ToArray() : null;
    }

    public bool Exists(ReadOnlySpan<byte> key)
    {
        using ValueLease lease = Read(key);
        return lease.Found;
    }

    /// <summary>Writes a key. <paramref name="expiresAt"/>: milliseconds since 1970-01-01 UTC; 0: never.</summary>
    public void Put(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, long expiresAt)
    {
        WriteOptions options = expiresAt == 0 ? default : new WriteOptions { Expiry = Expiry.AtUnixMilliseconds(Math.Max(1, expiresAt)) };
        Note(Transaction!.Put(key, value, options));
    }

    public void Remove(ReadOnlySpan<byte> key) => Note(Transaction!.Remove(key));

    /// <summary>Removes every key.</summary>
    public void RemoveAll() => Note(Transaction!.RemoveRange(default, default));

    public ScanCursor Scan(ScanOptions options) => Transaction is { } transaction ? transaction.Scan(options) : Door.Store.Scan(options);

    public void Refuse(Status status, string? detail)
    {
        _refused = status;
        _detail = detail;
    }

    private Status _refused;
    private string? _detail;

    private void Note(in WriteResult result)
    {
        if (result.Status > Status.NotFound)
        {
            Refuse(result.Status, result.Detail);
        }
    }
}
