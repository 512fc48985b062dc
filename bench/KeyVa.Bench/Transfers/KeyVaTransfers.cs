using System.Diagnostics;

namespace KeyVa.Bench.Transfers;

/// <summary>KeyVa embedded: <c>store.Transact</c>, serializable, one lsm partition.</summary>
internal sealed class KeyVaTransfers(BenchOptions options, Concurrency concurrency) : TransferTarget
{
    private Store? _store;

    public Store Store => _store!;

    public override string Name => concurrency == Concurrency.Optimistic ? "keyva" : "keyva-pessimistic";

    public override string Settings => concurrency == Concurrency.Optimistic
        ? $"Store.Transact, serializable, optimistic (as it comes); journal on, durability os, block cache {options.BlockCacheBytes >> 20} MiB, memtable {options.MemtableBytes >> 20} MiB x 5"
        : "the same with Concurrency.Pessimistic and GetForUpdate";

    public override void Open(string directory) => _store = Store.Open(directory, new StoreOptions
    {
        Durability = Durability.Os,
        BlockCacheBytes = options.BlockCacheBytes,
        MemtableBytes = options.MemtableBytes,
        BackgroundThreads = 2,
    });

    public override void Close() => _store!.DisposeAsync().AsTask().GetAwaiter().GetResult();

    public override TransferSession NewSession() => new Session(_store!, concurrency);

    private sealed class Session : TransferSession
    {
        private readonly Store _store;
        private readonly TransactionOptions _options;
        private readonly Action<Transaction> _work;
        private readonly byte[] _value = new byte[ValueBytes];
        private readonly bool _forUpdate;
        private byte[] _from = [];
        private byte[] _to = [];
        private int _attempts;

        public Session(Store store, Concurrency concurrency)
        {
            _store = store;
            _options = new TransactionOptions { Concurrency = concurrency };
            _forUpdate = concurrency == Concurrency.Pessimistic;
            _work = Work;
        }

        public override void Put(byte[] key, byte[] value) => Check(_store.Upsert(key, value).Status);

        public override void Transfer(byte[] from, byte[] to)
        {
            _from = from;
            _to = to;
            while (true)
            {
                _attempts = 0;
                CommitResult result = _store.Transact(_work, _options);
                Conflicts += _attempts - 1;
                if (result.IsOk)
                {
                    return;
                }

                if (result.Status is not (Status.Conflict or Status.Deadlock or Status.LockTimeout or Status.Busy))
                {
                    throw new InvalidOperationException($"{result.Status}: {result.Detail}");
                }

                Conflicts++;
            }
        }

        public override long Total(int accounts)
        {
            long total = 0;
            byte[] key = Keys.NewBuffer(KeyBytes);
            for (int i = 0; i < accounts; i++)
            {
                Keys.Write(key, (ulong)i);
                using ValueLease lease = _store.Get(key);
                total += ReadAccount(lease.Value);
            }

            return total;
        }

        private void Work(Transaction transaction)
        {
            _attempts++;
            if (Read(transaction, _from, out long from) && Read(transaction, _to, out long to))
            {
                WriteAccount(_value, from - 1);
                transaction.Put(_from, _value);
                WriteAccount(_value, to + 1);
                transaction.Put(_to, _value);
            }
        }

        private bool Read(Transaction transaction, byte[] key, out long balance)
        {
            using ValueLease lease = _forUpdate ? transaction.GetForUpdate(key) : transaction.Get(key);
            balance = lease.Found ? ReadAccount(lease.Value) : 0;
            return lease.Found;
        }

        private static void Check(Status status)
        {
            if (status != Status.Ok)
            {
                throw new UnreachableException(status.ToString());
            }
        }
    }
}
