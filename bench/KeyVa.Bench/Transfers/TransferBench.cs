using System.Diagnostics;
using System.Globalization;

namespace KeyVa.Bench.Transfers;

/// <summary>
/// Transfers between accounts, each a serializable transaction that reads two accounts and writes both, for a fixed time:
/// KeyVa against RocksDB's two kinds of transactions, interleaved; and what a read-only transaction adds to plain reads.
/// Afterwards the balances must add up to what they began with, or the bench fails.
/// </summary>
internal sealed class TransferBench(BenchOptions options)
{
    private const int HotAccounts = 10;
    private const int ReadsPerTransaction = 10;
    private const double Asked = 1.0;
    private const double AskedReadOnly = 1.1;
    private const double AskedUnderContention = 0.5;

    private static readonly (string Name, int Clients, bool Hot)[] Workloads =
    [
        ("transfers", 1, false),
        ("transfers", 8, false),
        ("transfers, 10 hot accounts", 1, true),
        ("transfers, 10 hot accounts", 8, true),
    ];

    private readonly int _accounts = checked((int)(options.RecordsGiven ?? 1_000_000));

    public Section Run()
    {
        Section section = new("Transactions", askedRatio: 0);
        TransferTarget[] all =
        [
            new KeyVaTransfers(options, Concurrency.Optimistic),
            new KeyVaTransfers(options, Concurrency.Pessimistic),
            new RocksDbTransfers(options, optimistic: true),
            new RocksDbTransfers(options, optimistic: false),
        ];
        TransferTarget[] targets = [.. all.Where(target => options.Targets is null || options.Targets.Contains(target.Name))];
        if (targets.Length == 0 || options.Workloads is not null)
        {
            throw new UsageException($"transactions knows the targets {string.Join(' ', all.Select(static target => target.Name))}, and no workloads");
        }

        section.Targets.AddRange(targets.Select(static target => (target.Name, target.Settings)));
        section.Conditions.Add(("transfers", string.Create(
            CultureInfo.InvariantCulture,
            $"{_accounts:N0} accounts of {TransferTarget.KeyBytes} and {TransferTarget.ValueBytes} bytes; a transfer reads two accounts drawn at random (of all, or of 10), writes both and commits, and is tried again until it happens; {options.FrontSeconds:0.#} s each; {options.Rounds} round(s), targets one after the other in each, medians")));
        List<(int Workload, int Target, double Rate, double Conflicts)> samples = [];
        for (int round = 0; round < options.Rounds; round++)
        {
            for (int target = 0; target < targets.Length; target++)
            {
                Measure(targets[target], round, (workload, rate, conflicts) => samples.Add((workload, target, rate, conflicts)));
            }
        }

        AddTables(section, [.. targets.Select(static target => target.Name)], samples);
        section.Tables.Add(ReadOnly());
        return section;
    }

    private static void AddTables(Section section, string[] targets, List<(int Workload, int Target, double Rate, double Conflicts)> samples)
    {
        Table rates = new("Commits per second", ["workload", "clients", .. targets, "KeyVa : better of RocksDB", "asked for"]);
        Table conflicts = new("Attempts in vain per commit", ["workload", "clients", .. targets]);
        double[][] medians = new double[Workloads.Length][];
        for (int workload = 0; workload < Workloads.Length; workload++)
        {
            (string name, int clients, _) = Workloads[workload];
            var mine = samples.Where(sample => sample.Workload == workload).ToLookup(static sample => sample.Target);
            double[] row = medians[workload] = [.. targets.Select((_, target) => Median(mine[target].Select(static sample => sample.Rate)))];
            double peer = targets.Zip(row).Where(static one => one.First.StartsWith("rocksdb", StringComparison.Ordinal)).Select(static one => one.Second).DefaultIfEmpty(double.NaN).Max();
            int keyva = Array.IndexOf(targets, "keyva");
            rates.Add([name, clients, .. row.Select(static rate => (object)(long)rate), keyva < 0 || double.IsNaN(peer) ? null : row[keyva] / peer, Asked]);
            conflicts.Add([name, clients, .. targets.Select((_, target) => (object)Median(mine[target].Select(static sample => sample.Conflicts)))]);
        }

        Table contention = new("Under contention: 8 clients on 10 hot accounts against 1 client", ["target", "8 clients : 1 client", "asked for"]);
        for (int target = 0; target < targets.Length; target++)
        {
            contention.Add(targets[target], medians[3][target] / medians[2][target], targets[target] == "keyva" ? AskedUnderContention : null);
        }

        section.Tables.AddRange([rates, conflicts, contention]);
    }

    private static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted[sorted.Length / 2];
    }

    private void Measure(TransferTarget target, int round, Action<int, double, double> add)
    {
        using DataFolder folder = new(options.Data, target.Name);
        target.Open(folder.Path);
        try
        {
            Load(target);
            for (int workload = 0; workload < Workloads.Length; workload++)
            {
                (double rate, double conflicts) = Transfers(target, Workloads[workload].Clients, Workloads[workload].Hot ? HotAccounts : _accounts);
                Console.Error.WriteLine(string.Create(
                    CultureInfo.InvariantCulture,
                    $"{DateTime.UtcNow:HH:mm:ss}  round {round + 1}  {Workloads[workload].Name,-28} {Workloads[workload].Clients} client(s)  {target.Name,-20} {rate,12:N0} commits/s, {conflicts:0.000} in vain per commit"));
                add(workload, rate, conflicts);
            }

            using TransferSession session = target.NewSession();
            long total = session.Total(_accounts);
            if (total != TransferTarget.Opening * _accounts)
            {
                throw new InvalidOperationException(string.Create(CultureInfo.InvariantCulture, $"{target.Name}: the accounts hold {total}, they began with {TransferTarget.Opening * _accounts}"));
            }
        }
        finally
        {
            target.Close();
        }
    }

    private void Load(TransferTarget target)
    {
        using TransferSession session = target.NewSession();
        byte[] key = Keys.NewBuffer(TransferTarget.KeyBytes);
        byte[] value = GC.AllocateArray<byte>(TransferTarget.ValueBytes, pinned: true);
        TransferTarget.WriteAccount(value, TransferTarget.Opening);
        for (int i = 0; i < _accounts; i++)
        {
            Keys.Write(key, (ulong)i);
            session.Put(key, value);
        }
    }

    private (double Rate, double Conflicts) Transfers(TransferTarget target, int clients, int accounts)
    {
        long commits = 0;
        long conflicts = 0;
        using var start = new ManualResetEventSlim();
        long end = 0;
        Exception? failure = null;
        Thread[] threads = [.. Enumerable.Range(0, clients).Select(client => new Thread(() =>
        {
            try
            {
                using TransferSession session = target.NewSession();
                Prng random = new(options.Seed + (ulong)client);
                byte[] from = Keys.NewBuffer(TransferTarget.KeyBytes);
                byte[] to = Keys.NewBuffer(TransferTarget.KeyBytes);
                long mine = 0;
                start.Wait();
                long until = Volatile.Read(ref end);
                while (Stopwatch.GetTimestamp() < until)
                {
                    uint first = random.Below((uint)accounts);
                    uint second = random.Below((uint)accounts - 1);
                    Keys.Write(from, first);
                    Keys.Write(to, second >= first ? second + 1 : second);
                    session.Transfer(from, to);
                    mine++;
                }

                Interlocked.Add(ref commits, mine);
                Interlocked.Add(ref conflicts, session.Conflicts);
            }
            catch (Exception e) when (e is InvalidOperationException or StoreException)
            {
                Interlocked.CompareExchange(ref failure, e, null);
            }
        }))];
        Array.ForEach(threads, static thread => thread.Start());
        long begun = Stopwatch.GetTimestamp();
        Volatile.Write(ref end, begun + (long)(options.FrontSeconds * Stopwatch.Frequency));
        start.Set();
        Array.ForEach(threads, static thread => thread.Join());
        return failure is null
            ? (commits / Stopwatch.GetElapsedTime(begun).TotalSeconds, conflicts / (double)Math.Max(1, commits))
            : throw new InvalidOperationException($"{target.Name}: a client failed", failure);
    }

    /// <summary>Plain reads against as many in read-only transactions of ten, on one thread, interleaved.</summary>
    private Table ReadOnly()
    {
        using DataFolder folder = new(options.Data, "read-only");
        KeyVaTransfers target = new(options, Concurrency.Optimistic);
        target.Open(folder.Path);
        try
        {
            Load(target);
            Store store = target.Store;
            TransactionOptions readOnly = new() { ReadOnly = true };
            List<double> plain = [];
            List<double> inTransaction = [];
            for (int round = 0; round <= options.Rounds * 3; round++)
            {
                double one = Reads(random => ReadPlain(store, ref random));
                double other = Reads(random => ReadInTransaction(store, readOnly, ref random));
                if (round > 0)
                {
                    plain.Add(one);
                    inTransaction.Add(other);
                }
            }

            Table table = new("Read-only transactions of 10 reads", ["plain, ns per read", "in a transaction, ns per read", "cost", "asked for at most"]);
            table.Add(Median(plain), Median(inTransaction), Median(inTransaction) / Median(plain), AskedReadOnly);
            return table;
        }
        finally
        {
            target.Close();
        }
    }

    private double Reads(Func<Prng, long> read)
    {
        const int Batches = 50_000;
        long begun = Stopwatch.GetTimestamp();
        long touched = 0;
        for (int i = 0; i < Batches; i++)
        {
            touched += read(new Prng(options.Seed + (ulong)i));
        }

        return touched > 0
            ? Stopwatch.GetElapsedTime(begun).TotalNanoseconds / (Batches * ReadsPerTransaction)
            : throw new UnreachableException("accounts hold something");
    }

    [ThreadStatic]
    private static byte[]? _key;

    private static byte[] Key => _key ??= Keys.NewBuffer(TransferTarget.KeyBytes);

    private long ReadPlain(Store store, ref Prng random)
    {
        long touched = 0;
        byte[] key = Key;
        for (int i = 0; i < ReadsPerTransaction; i++)
        {
            Keys.Write(key, random.Below((uint)_accounts));
            using ValueLease lease = store.Get(key);
            touched += TransferTarget.ReadAccount(lease.Value);
        }

        return touched;
    }

    private long ReadInTransaction(Store store, TransactionOptions readOnly, ref Prng random)
    {
        long touched = 0;
        byte[] key = Key;
        using Transaction transaction = store.Begin(readOnly);
        for (int i = 0; i < ReadsPerTransaction; i++)
        {
            Keys.Write(key, random.Below((uint)_accounts));
            using ValueLease lease = transaction.Get(key);
            touched += TransferTarget.ReadAccount(lease.Value);
        }

        return touched;
    }
}
