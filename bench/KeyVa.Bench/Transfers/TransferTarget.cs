using System.Buffers.Binary;

namespace KeyVa.Bench.Transfers;

/// <summary>A store of accounts. Opened, loaded and closed by one thread; each client has a session of its own.</summary>
internal abstract class TransferTarget
{
    public const int KeyBytes = 16;
    public const int ValueBytes = 100;
    public const long Opening = 1_000_000;

    public abstract string Name { get; }

    public abstract string Settings { get; }

    public abstract void Open(string directory);

    public abstract void Close();

    public abstract TransferSession NewSession();

    /// <summary>An account as it is written: its balance, and bytes up to the value's length.</summary>
    public static void WriteAccount(Span<byte> value, long balance) => BinaryPrimitives.WriteInt64LittleEndian(value, balance);

    public static long ReadAccount(ReadOnlySpan<byte> value) => BinaryPrimitives.ReadInt64LittleEndian(value);
}

/// <summary>One client. One thread at a time.</summary>
internal abstract class TransferSession : IDisposable
{
    /// <summary>Attempts that another transaction made vain.</summary>
    public long Conflicts { get; protected set; }

    /// <summary>Opens an account (while loading).</summary>
    public abstract void Put(byte[] key, byte[] value);

    /// <summary>Moves 1 from one account to another, serializably; tries again until it has happened.</summary>
    public abstract void Transfer(byte[] from, byte[] to);

    /// <summary>The sum of the balances of the accounts 0 to <paramref name="accounts"/> - 1; nobody writes meanwhile.</summary>
    public abstract long Total(int accounts);

    public virtual void Dispose()
    {
    }
}
