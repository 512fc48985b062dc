using System.Text;
using KeyVa.Indexes;
using KeyVa.Io;
using KeyVa.Partitions;
using KeyVa.Tests.Stores;
using Xunit;
using static KeyVa.Tests.Stores.StoreFixture;

namespace KeyVa.Tests.Transactions;

/// <summary>Queries of secondary indexes inside transactions: own writes, and what the commit finds changed.</summary>
public sealed class TransactionQueryTests
{
    private static readonly IndexQuery All = new() { Index = "n" };

    [Theory]
    [InlineData(1, EngineKind.Lsm)]
    [InlineData(3, EngineKind.Lsm)]
    [InlineData(3, EngineKind.Memory)]
    public async Task OwnWritesAreLaidOver(int partitions, EngineKind engine)
    {
        await using Store store = await Open(new StoreFixture(), engine, partitions);
        foreach (string key in new[] { "a", "i", "q", "x" })
        {
            Set(store, key, Document(key[0]));
        }

        using Transaction txn = store.Begin();
        txn.Put("b"u8, Bytes(Document('b')));
        txn.Put("i"u8, Bytes(Document('z')));
        txn.Remove("q"u8);
        txn.Put("bad"u8, "no JSON"u8);
        Assert.Equal("a b x i", Keys(txn, All));
        Assert.Equal("i x b a", Keys(txn, All with { Reverse = true }));
        Assert.Equal("b x", Keys(txn, All with { From = ['b'], To = ['y'], KeysOnly = true }));
        Assert.Equal("i", Keys(txn, All with { Equal = ['z'] }));
        Assert.Equal("", Keys(txn, All with { Equal = ['i'] }));
        Assert.Equal("a b", Keys(txn, All with { Limit = 2 }));
        foreach (bool reverse in new[] { false, true })
        {
            // Page by page it is the same.
            IndexQuery page = All with { Reverse = reverse, Limit = 1 };
            List<string> found = [];
            for (string key = ""; ; found.Add(key))
            {
                using IndexCursor cursor = txn.Query(page);
                if (!cursor.MoveNext())
                {
                    break;
                }

                key = Encoding.UTF8.GetString(cursor.Key);
                page = page with { After = cursor.ResumeToken.ToArray() };
            }

            Assert.Equal(reverse ? "i x b a" : "a b x i", string.Join(' ', found));
        }

        Savepoint savepoint = txn.SetSavepoint();
        txn.RemoveRange("b"u8, "j"u8);
        Assert.Equal("a x", Keys(txn, All));
        txn.Put("c"u8, Bytes(Document('c')), new WriteOptions { Expiry = Expiry.At(DateTimeOffset.UnixEpoch.AddSeconds(1)) });
        txn.Put("d"u8, Bytes(Document('d')), new WriteOptions { Expiry = Expiry.In(TimeSpan.FromHours(1)) });
        Assert.Equal("a d x", Keys(txn, All));
        txn.RollbackTo(savepoint);
        Assert.Equal("a b x i", Keys(txn, All));
        using (IndexCursor cursor = txn.Query(All))
        {
            // What is written while a cursor goes on, is not met by it.
            for (int i = 0; cursor.MoveNext(); i++)
            {
                Assert.InRange(i, 0, 3);
                txn.Put(cursor.Key, Bytes(Document((char)('z' + i))));
            }
        }

        Assert.Equal("a b x i", Keys(txn, All));
        Assert.Equal("a b x i", Keys(txn, All with { From = ['z'] }));
        Assert.True(txn.Commit().IsOk);
        using IndexCursor after = store.Query(All with { KeysOnly = true });
        Assert.Equal("a b x i", Keys(after));
        Assert.Equal(0, store.GetStatistics().OpenSnapshots - 1);
    }

    [Theory]
    [InlineData(1, EngineKind.Lsm)]
    [InlineData(3, EngineKind.Memory)]
    public async Task MergesThatWaitForTheCommitCountWithWhatTheyComeTo(int partitions, EngineKind engine)
    {
        await using Store store = await Open(new StoreFixture(), engine, partitions);
        foreach (string key in new[] { "a", "i", "q" })
        {
            Set(store, key, Document(key[0]));
        }

        // Not there, or no JSON to the patch: what comes of it is what the index has.
        using (Transaction txn = store.Begin())
        {
            Assert.True(txn.Merge("i"u8, MergeFunction.JsonMergePatch, Bytes(Document('z'))).IsOk);
            Assert.True(txn.Merge("b"u8, MergeFunction.JsonMergePatch, Bytes(Document('b'))).IsOk);
            Assert.True(txn.Merge("q"u8, MergeFunction.JsonMergePatch, "{\"n\":null}"u8).IsOk);
            Assert.Equal("a b i", Keys(txn, All));
            Assert.Equal("i", Keys(txn, All with { Equal = ['z'] }));
            Assert.Equal("", Keys(txn, All with { Equal = ['q'] }));
            Assert.True(txn.Commit().IsOk);
        }

        using (IndexCursor after = store.Query(All with { KeysOnly = true }))
        {
            Assert.Equal("a b i", Keys(after));
        }

        // What a merge stands on was read by the query, so the commit finds it unchanged.
        using (Transaction txn = store.Begin())
        {
            Assert.True(txn.Merge("a"u8, MergeFunction.JsonMergePatch, "{\"x\":1}"u8).IsOk);
            Assert.Equal("a", Keys(txn, All with { Equal = ['a'] }));
            Set(store, "a", Document('c'));
            Assert.Equal(Status.Conflict, txn.Commit().Status);
        }

        // One that cannot be done ends the query, not the transaction.
        using (Transaction txn = store.Begin())
        {
            Assert.True(txn.Merge("a"u8, MergeFunction.Increment, Bytes("1")).IsOk);
            using IndexCursor refused = txn.Query(All);
            Assert.Equal((Status.MergeRefused, false), (refused.Status, refused.MoveNext()));
            Assert.NotNull(refused.Detail);
        }
    }

    [Theory]
    [InlineData(1, EngineKind.Lsm, Concurrency.Optimistic)]
    [InlineData(3, EngineKind.Lsm, Concurrency.Optimistic)]
    [InlineData(3, EngineKind.Memory, Concurrency.Optimistic)]
    [InlineData(1, EngineKind.Lsm, Concurrency.Pessimistic)]
    [InlineData(3, EngineKind.Lsm, Concurrency.Pessimistic)]
    public async Task WhatAnIndexHasShownMustNotChange(int partitions, EngineKind engine, Concurrency concurrency)
    {
        await using Store store = await Open(new StoreFixture(), engine, partitions);
        IndexQuery middle = All with { From = ['f'], To = ['t'] };
        IndexQuery keys = middle with { KeysOnly = true };
        await Expect(true, middle, () => Set(store, "b", Document('b')));
        await Expect(false, middle, () => Set(store, "b", Document('g')));
        await Expect(false, middle, () => Set(store, "g", Document('h')));
        await Expect(false, middle, () => store.Remove("h"u8));
        await Expect(false, middle, () => Set(store, "h", "no JSON"));
        await Expect(false, middle, () => store.RemoveRange("g"u8, "r"u8));
        await Expect(false, middle, () => Set(store, "h", Document('h') + " "));
        await Expect(true, keys, () => Set(store, "h", Document('h') + " "));
        await Expect(true, middle, () => Set(store, "u", Document('u')));
        await Expect(true, keys, () => Replace("h"));
        await Expect(false, middle, () => Replace("h"));
        await Expect(true, middle with { Limit = 1 }, () => Set(store, "o", Document('i')));
        await Expect(false, middle with { Limit = 1 }, () => Set(store, "o", Document('g')));
        await Expect(true, middle with { Limit = 1, Reverse = true }, () => Set(store, "b", Document('g')));
        await Expect(false, middle with { Limit = 1, Reverse = true }, () => Set(store, "b", Document('s')));
        await Expect(false, middle with { Limit = 2 }, () => Set(store, "b", Document('k')));
        await Expect(true, All with { Equal = ['p'] }, () => Set(store, "b", Document('q')));
        await Expect(false, All with { Equal = ['p'] }, () => Set(store, "b", Document('p')));
        byte[] token = Token('h');
        await Expect(true, middle with { After = token }, () => Set(store, "b", Document('g')));
        await Expect(false, middle with { After = token }, () => Set(store, "b", Document('i')));
        await Expect(true, middle with { After = token, Reverse = true }, () => Set(store, "b", Document('i')));
        await Expect(false, middle with { After = token, Reverse = true }, () => Set(store, "b", Document('g')));

        // A dropped index shows nothing any more, and its name may be another one's.
        Reset();
        using Transaction txn = Begin();
        Assert.Equal("h q", Keys(txn, middle));
        txn.Put("w"u8, "1"u8);
        Assert.True((await store.Indexes.DropAsync("n")).IsOk);
        CommitResult refused = txn.Commit();
        Assert.Equal((Status.Conflict, "another has changed what an index that was dropped has shown to the transaction"), (refused.Status, refused.Detail));

        void Replace(string key)
        {
            store.Remove(Bytes(key));
            Set(store, key, Document(key[0]));
        }

        byte[] Token(char at)
        {
            Reset();
            using IndexCursor cursor = store.Query(All with { Equal = [at] });
            Assert.True(cursor.MoveNext());
            return cursor.ResumeToken.ToArray();
        }

        void Reset()
        {
            store.RemoveRange(default, default);
            foreach (char key in "ahqx")
            {
                Set(store, key.ToString(), Document(key));
            }
        }

        Transaction Begin() => store.Begin(new TransactionOptions { Concurrency = concurrency });

        async Task Expect(bool commits, IndexQuery query, Action other, [System.Runtime.CompilerServices.CallerLineNumber] int line = 0)
        {
            foreach (bool isOpen in new[] { false, true })
            {
                Reset();
                using Transaction txn = Begin();
                using IndexCursor cursor = txn.Query(query);
                Keys(cursor);
                if (!isOpen)
                {
                    cursor.Dispose();
                }

                other();
                txn.Put("written"u8, "1"u8);
                CommitResult result = await txn.CommitAsync();
                Assert.True(commits == result.IsOk, $"line {line}: {result.Status} {result.Detail}");
                Assert.True(commits || result.Status == Status.Conflict, $"line {line}: {result.Status} {result.Detail}");
                Assert.Equal(commits ? "1" : null, Get(store, "written"));
            }
        }
    }

    [Fact]
    public async Task AConflictNamesTheIndex()
    {
        await using Store store = await Open(new StoreFixture(), EngineKind.Lsm, 1);
        using Transaction txn = store.Begin();
        Assert.Equal("", Keys(txn, All));
        txn.Put("a"u8, Bytes(Document('a')));
        Set(store, "b", Document('b'));
        CommitResult result = txn.Commit();
        Assert.Equal((Status.Conflict, "another has changed what the index 'n' has shown to the transaction"), (result.Status, result.Detail));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task AtMostOneOfTwoThatSeeNoneOfItPutsOne(int partitions)
    {
        // Write skew over a predicate: each books a room when it finds it free.
        await using Store store = await Open(new StoreFixture(), EngineKind.Lsm, partitions);
        for (int round = 0; round < 20; round++)
        {
            string value = $"{{\"n\":{round}}}";
            IndexQuery room = All with { Equal = [round] };
            using Transaction one = store.Begin();
            using Transaction other = store.Begin();
            Assert.Equal("", Keys(one, room));
            Assert.Equal("", Keys(other, room));
            one.Put(Bytes($"a{round}"), Bytes(value));
            other.Put(Bytes($"z{round}"), Bytes(value));
            Assert.True(one.Commit().IsOk);
            Assert.Equal(Status.Conflict, other.Commit().Status);
            using IndexCursor cursor = store.Query(room);
            Assert.Equal($"a{round}", Keys(cursor));
        }
    }

    [Fact]
    public async Task ARefusedCommitIsRefusedAgainWhenAnIndexIsAheadOfItsPartition()
    {
        var fixture = new StoreFixture();
        MemoryFileSystem left;
        await using (Store store = await Open(fixture, EngineKind.Lsm, 1))
        {
            Partition partition = ((PartitionRegistry)store.Partitions).Map.Partitions[0];
            using Transaction txn = store.Begin();
            Assert.Equal("", Keys(txn, All));
            txn.Put("never"u8, Bytes(Document('x')));
            Set(store, "b", Document('b'));
            Assert.Equal(Status.Conflict, txn.Commit().Status);
            using Transaction other = store.Begin();
            Assert.Equal("b", Keys(other, All));
            other.Put("always"u8, Bytes(Document('y')));
            Assert.True(other.Commit().IsOk);

            // As it is in the end, the index would let the first one pass and refuse the second. It gets there before the partition does.
            store.RemoveRange(default, "z"u8);
            Set(store, "always", Document('y'));
            partition.Indexes.All[0].Rotate();
            partition.Indexes.All[0].Companion.FlushThrough(partition.Engine.AppliedIndex);
            Assert.True(partition.Indexes.All[0].Companion.DurableIndex > partition.Engine.DurableIndex);
            left = fixture.Files.Kill();
        }

        await using Store again = new StoreFixture { Files = left }.Open();
        Assert.Null(Get(again, "never"));
        Assert.Equal(Document('y'), Get(again, "always"));
        using IndexCursor cursor = again.Query(All);
        Assert.Equal("always", Keys(cursor));
    }

    internal static async Task<Store> Open(StoreFixture fixture, EngineKind engine, int partitions)
    {
        fixture.Options = fixture.Options with { Engine = engine, CreateDefaultPartition = partitions == 1 };
        Store store = fixture.Open();
        PartitionedStore.Split(store, engine, partitions, partitions == 2 ? ["h"] : ["h", "p"]);
        Assert.True((await store.Indexes.CreateAsync(new IndexDefinition { Name = "n", Fields = ["n"], Sparse = true })).IsOk);
        Assert.True((await store.Indexes.WaitAsync("n")).IsOk);
        return store;
    }

    private static string Document(char n) => $"{{\"n\":{(int)n}}}";

    private static string Keys(Transaction txn, IndexQuery query)
    {
        using IndexCursor cursor = txn.Query(query);
        return Keys(cursor);
    }

    private static string Keys(IndexCursor cursor)
    {
        Assert.True(cursor.Status == Status.Ok, cursor.Detail);
        List<string> keys = [];
        while (cursor.MoveNext())
        {
            keys.Add(Encoding.UTF8.GetString(cursor.Key));
        }

        return string.Join(' ', keys);
    }
}
