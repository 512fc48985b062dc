using System.Text;
using KeyVa.Tests.House;
using KeyVa.Tests.Stores;
using Xunit;

namespace KeyVa.Tests.Transactions;

/// <summary>
/// The anomalies of the isolation levels (Adya, "Weak consistency", 1999; the scripts follow Kleppmann's Hermitage), each as a
/// script that is run at every level, with and without locks, on both engines: the transcripts are compared with what is
/// written down beside this file. <c>KEYVA_REWRITE=1</c> writes them anew, to be read.
/// </summary>
public sealed class AnomalyTests
{
    private const string Folder = "tests/KeyVa.Tests/Transactions/Anomalies";

    private static readonly (string Name, string Steps)[] Scripts =
    [
        ("G0, dirty write", "T1 w x 11; T2 w x 12; T1 w y 21; T1 c; T2 w y 22; T2 c"),
        ("G1a, aborted read", "T1 w x 101; T2 r x; T2 s; T1 a; T2 r x; T2 s; T2 c"),
        ("G1b, intermediate read", "T1 w x 101; T2 r x; T1 w x 11; T1 c; T2 r x; T2 c"),
        ("G1c, circular information flow", "T1 w x 11; T2 w y 22; T1 r y; T2 r x; T1 c; T2 c"),
        ("OTV, observed transaction vanishes", "T1 w x 11; T1 w y 19; T2 w x 12; T1 c; T3 r x; T2 w y 18; T3 r y; T2 c; T3 r y; T3 r x; T3 c"),
        ("PMP, predicate-many-preceders", "T1 s; T2 w z 30; T2 c; T1 s; T1 c"),
        ("PMP, for a write that follows from the predicate", "T1 s; T2 w z 30; T2 c; T1 w sum 30; T1 c"),
        ("P4, lost update", "T1 r x; T2 r x; T1 w x 11; T2 w x 12; T1 c; T2 c"),
        ("P4, of readers that say that they will write", "T1 u x; T2 u x; T1 w x 11; T1 c; T2 w x 12; T2 c"),
        ("G-single, read skew", "T1 r x; T2 r x; T2 r y; T2 w x 12; T2 w y 18; T2 c; T1 r y; T1 c"),
        ("G-single, by a scan", "T1 r x; T2 w x 12; T2 w y 18; T2 c; T1 s; T1 c"),
        ("G-single, with a write", "T1 r x; T2 w x 12; T2 w y 18; T2 c; T1 w y 1; T1 c"),
        ("G2-item, write skew", "T1 r x; T1 r y; T2 r x; T2 r y; T1 w x 11; T2 w y 21; T1 c; T2 c"),
        ("G2, by a predicate", "T1 s; T2 s; T1 w p 30; T2 w q 42; T1 c; T2 c"),
        ("G2, by a predicate and a removal", "T1 s; T2 s; T1 d x; T2 d y; T1 c; T2 c"),
    ];

    [Theory]
    [InlineData(IsolationLevel.ReadUncommitted, Concurrency.Optimistic)]
    [InlineData(IsolationLevel.ReadCommitted, Concurrency.Optimistic)]
    [InlineData(IsolationLevel.RepeatableRead, Concurrency.Optimistic)]
    [InlineData(IsolationLevel.Serializable, Concurrency.Optimistic)]
    [InlineData(IsolationLevel.ReadUncommitted, Concurrency.Pessimistic)]
    [InlineData(IsolationLevel.ReadCommitted, Concurrency.Pessimistic)]
    [InlineData(IsolationLevel.RepeatableRead, Concurrency.Pessimistic)]
    [InlineData(IsolationLevel.Serializable, Concurrency.Pessimistic)]
    public async Task EachLevelShowsWhatItMayAndNothingElse(IsolationLevel isolation, Concurrency concurrency)
    {
        string name = $"{isolation}-{concurrency}.txt";
        string transcript = await Run(EngineKind.Lsm, partitions: 1, isolation, concurrency);
        Assert.Equal(transcript, await Run(EngineKind.Memory, partitions: 1, isolation, concurrency));
        Assert.Equal(transcript, await Run(EngineKind.Lsm, partitions: 3, isolation, concurrency));
        string path = System.IO.Path.Combine(Repository.Root, Folder, name);
        if (System.Environment.GetEnvironmentVariable("KEYVA_REWRITE") is { Length: > 0 })
        {
            System.IO.Directory.CreateDirectory(System.IO.Path.GetDirectoryName(path)!);
            await System.IO.File.WriteAllTextAsync(path, transcript);
        }

        Assert.Equal(await System.IO.File.ReadAllTextAsync(path), transcript);
    }

    private static async Task<string> Run(EngineKind engine, int partitions, IsolationLevel isolation, Concurrency concurrency)
    {
        var text = new StringBuilder();
        foreach ((string name, string steps) in Scripts)
        {
            var fixture = new StoreFixture(new StoreOptions { Engine = engine, CreateDefaultPartition = partitions == 1, LockTimeout = TimeSpan.FromHours(1) });
            await using Store store = fixture.Open();
            PartitionedStore.Split(store, engine, partitions, "x", "y");
            StoreFixture.Set(store, "x", "10");
            StoreFixture.Set(store, "y", "20");
            using var script = new Script(store, new TransactionOptions { Isolation = isolation, Concurrency = concurrency });
            text.AppendLine(name).AppendLine(await script.Run(steps));
        }

        return text.ToString();
    }
}
