using System.Collections.Concurrent;
using System.Security.Cryptography;

namespace KeyVa.Transactions;

/// <summary>
/// The transactions that a server holds for its clients, by an identity of 128 random bits that nobody can guess, and by who began
/// each: to everybody else it is not there.
/// </summary>
/// <remarks>
/// Thread-safe. Calls of one transaction are put in a row: <see cref="RentAsync"/> waits until the one before is through. What is
/// abandoned ends at its time limit, by the store; its place here goes with the next look at it, or when there are many.
/// </remarks>
internal sealed class TransactionRegistry(Store store)
{
    /// <summary>So many places at least before those of transactions that have ended are looked for.</summary>
    private const int SweepFrom = 1024;

    private readonly ConcurrentDictionary<Guid, Entry> _entries = new();
    private int _sweepAt = SweepFrom;

    /// <summary>Transactions that are held, some of which may have ended.</summary>
    public int Count => _entries.Count;

    /// <summary>Begins a transaction of an owner; throws <see cref="RefusedException"/> as <see cref="Store.Begin"/> does.</summary>
    public Guid Begin(TransactionOptions options, string owner, out long number)
    {
        var entry = new Entry(store.Begin(options), owner);
        number = entry.Transaction.Number;
        Span<byte> random = stackalloc byte[16];
        RandomNumberGenerator.Fill(random);
        var id = new Guid(random);
        _entries[id] = entry;
        if (_entries.Count > Volatile.Read(ref _sweepAt))
        {
            Sweep();
        }

        return id;
    }

    /// <summary>
    /// The transaction, for one call; dispose the rental. Its <see cref="Rental.Transaction"/> is null if the owner has none of this identity, or
    /// has ended it.
    /// </summary>
    public async ValueTask<Rental> RentAsync(Guid id, string owner, CancellationToken cancellation)
    {
        if (!_entries.TryGetValue(id, out Entry? entry) || entry.Owner != owner)
        {
            return default;
        }

        await entry.Turn.WaitAsync(cancellation).ConfigureAwait(false);
        if (entry.IsOver)
        {
            entry.Turn.Release();
            return default;
        }

        return new Rental(entry);
    }

    /// <summary>Its owner is done with a transaction that it has rented: rolls it back if it is not committed, and forgets it.</summary>
    public void End(Guid id, in Rental rental)
    {
        if (rental.Transaction is not null && _entries.TryRemove(id, out Entry? entry))
        {
            entry.IsOver = true;
            rental.Transaction?.Dispose();
        }
    }

    /// <summary>Commits a transaction, when the calls before are through, and forgets it; null if the owner has none of this identity.</summary>
    public async ValueTask<CommitResult?> CommitAsync(Guid id, string owner, CancellationToken cancellation)
    {
        using Rental rental = await RentAsync(id, owner, cancellation).ConfigureAwait(false);
        if (rental.Transaction is not { } transaction)
        {
            return null;
        }

        try
        {
            return await transaction.CommitAsync(CancellationToken.None).ConfigureAwait(false);
        }
        finally
        {
            End(id, rental);
        }
    }

    /// <summary>Rolls a transaction back, when the calls before are through, and forgets it; false if the owner has none of this identity.</summary>
    public async ValueTask<bool> RollbackAsync(Guid id, string owner, CancellationToken cancellation)
    {
        using Rental rental = await RentAsync(id, owner, cancellation).ConfigureAwait(false);
        End(id, rental);
        return rental.Transaction is not null;
    }

    private void Sweep()
    {
        foreach ((Guid id, Entry entry) in _entries)
        {
            // One that is being used is not waited for.
            if (!entry.Transaction.IsActive && entry.Turn.Wait(0))
            {
                if (_entries.TryRemove(id, out _))
                {
                    entry.IsOver = true;
                    entry.Transaction.Dispose();
                }

                entry.Turn.Release();
            }
        }

        Volatile.Write(ref _sweepAt, Math.Max(SweepFrom, _entries.Count * 2));
    }

    /// <summary>A transaction, for one call.</summary>
    public readonly struct Rental : IDisposable
    {
        private readonly Entry? _entry;

        internal Rental(Entry entry) => _entry = entry;

        public Transaction? Transaction => _entry?.Transaction;

        public void Dispose() => _entry?.Turn.Release();
    }

    internal sealed class Entry(Transaction transaction, string owner)
    {
        public Transaction Transaction { get; } = transaction;

        public string Owner { get; } = owner;

        // Never disposed: it holds nothing but memory while its wait handle is not asked for.
        public SemaphoreSlim Turn { get; } = new(1, 1);

        /// <summary>With the turn.</summary>
        public bool IsOver { get; set; }
    }
}
