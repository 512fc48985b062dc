using System.Collections.Concurrent;
using System.Security.Cryptography;

namespace KeyVa.Transactions;

/// <summary>
/// The transactions that a server holds for its clients, by an identity of 128 random bits that nobody can guess: who knows it
/// may use the transaction.
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

    /// <summary>Begins a transaction; throws <see cref="RefusedException"/> as <see cref="Store.Begin"/> does.</summary>
    public Guid Begin(TransactionOptions options)
    {
        var entry = new Entry(store.Begin(options));
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
    /// The transaction, for one call; dispose the rental. Its <see cref="Rental.Transaction"/> is null if there is none of this identity, or its
    /// owner has ended it.
    /// </summary>
    public async ValueTask<Rental> RentAsync(Guid id, CancellationToken cancellation)
    {
        if (!_entries.TryGetValue(id, out Entry? entry))
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
        if (_entries.TryRemove(id, out Entry? entry))
        {
            entry.IsOver = true;
            rental.Transaction?.Dispose();
        }
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

    internal sealed class Entry(Transaction transaction)
    {
        public Transaction Transaction { get; } = transaction;

        // Never disposed: it holds nothing but memory while its wait handle is not asked for.
        public SemaphoreSlim Turn { get; } = new(1, 1);

        /// <summary>With the turn.</summary>
        public bool IsOver { get; set; }
    }
}
