using System.Buffers;
using System.Text;
using KeyVa.Io;
using KeyVa.Partitions;
using KeyVa.Tests.Stores;
using Xunit;
using static KeyVa.Tests.Stores.StoreFixture;

namespace KeyVa.Tests.Partitions;

public sealed class PartitionWriterTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    [Fact]
    public async Task TheNextGroupIsLoggedWhileOneIsAppliedAndAppliedBehindIt()
    {
        using var gate = new Gate();
        var fixture = new StoreFixture(new StoreOptions { Durability = Durability.Os, MergeFunctions = [gate] });
        await using (Store store = fixture.Open())
        {
            // The first group is held back while it is applied, so the next is one of two: a writer in company.
            Task<WriteResult> first = Start(() => store.Merge(Bytes("first"), gate, Bytes("1")));
            gate.AwaitCalls(1);
            Task<WriteResult> second = Start(() => store.Merge(Bytes("second"), gate, Bytes("2")));
            AwaitQueued(store, 1);
            Task<WriteResult> third = Start(() => Set(store, "third", "3"));
            AwaitQueued(store, 2);
            gate.Open(1);
            gate.AwaitCalls(2);

            // While it is applied others log theirs, and see nothing of it; asynchronous callers wait for the engine.
            Task<WriteResult> fourth = Start(() => Set(store, "fourth", "logged meanwhile"));
            Assert.True(SpinWait.SpinUntil(() => IsLogged(fixture, "logged meanwhile"), Patience), "the journal has it");
            Task<WriteResult> fifth = store.UpsertAsync(Bytes("fifth"), Bytes("5")).AsTask();
            Assert.False(second.IsCompleted || third.IsCompleted || fourth.IsCompleted || fifth.IsCompleted);
            Assert.Equal(("1", null, null, null), (Get(store, "first"), Get(store, "second"), Get(store, "third"), Get(store, "fourth")));

            gate.Open(1);
            WriteResult[] results = await Task.WhenAll(first, second, third, fourth, fifth).WaitAsync(Patience);
            Assert.All(results, static result => Assert.True(result.IsOk));
            Assert.Equal(results.Select(static result => result.Version).Order(), results.Select(static result => result.Version));
            Assert.Equal(0, store.GetStatistics().Partitions[0].QueuedWrites);
        }

        gate.Open(100);
        await using Store again = fixture.Open();
        Assert.Equal(("1", "2", "3", "logged meanwhile", "5"), (Get(again, "first"), Get(again, "second"), Get(again, "third"), Get(again, "fourth"), Get(again, "fifth")));
    }

    [Theory]
    [InlineData(EngineKind.Lsm, 2)]
    [InlineData(EngineKind.Lsm, 8)]
    [InlineData(EngineKind.Memory, 2)]
    [InlineData(EngineKind.Memory, 8)]
    public async Task CallersInCompanyReadWhatTheyWroteWhileOthersTakeTheWriterForThemselves(EngineKind engine, int callers)
    {
        const int Writes = 5_000;
        var fixture = new StoreFixture(new StoreOptions { Engine = engine, Durability = Durability.Os, MemtableBytes = 256 << 10 });
        await using (Store store = fixture.Open())
        {
            Task[] writers = [.. Enumerable.Range(0, callers).Select(caller => Task.Factory.StartNew(
                () =>
                {
                    for (int i = 0; i < Writes; i++)
                    {
                        string key = $"{caller}-{i % 100}";
                        Assert.True(Set(store, key, $"{i}").IsOk);
                        Assert.Equal($"{i}", Get(store, key));
                        Assert.True(store.Increment(Bytes("sum"), 1).IsOk);
                    }
                },
                TaskCreationOptions.LongRunning))];
            Task all = Task.WhenAll(writers);
            PartitionWriter writer = ((PartitionRegistry)store.Partitions).Map.Partitions[0].Writer;
            while (!all.IsCompleted)
            {
                // Whoever has the role for himself finds everything applied that is logged.
                var looked = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
                writer.Enter(new ExclusiveAction(held =>
                {
                    bool isDrained = held.Engine.AppliedIndex + 1 == held.NextPosition().Index;
                    held.Engine.BeginFlush();
                    looked.SetResult(isDrained);
                }));
                Assert.True(await looked.Task.WaitAsync(Patience));
                Assert.True((await store.UpsertAsync(Bytes("asynchronous"), Bytes("x"))).IsOk);
            }

            await all;
        }

        await using Store again = fixture.Open();
        Assert.Equal($"{callers * Writes}", Get(again, "sum"));
        Assert.All(Enumerable.Range(0, callers), caller => Assert.Equal($"{Writes - 1}", Get(again, $"{caller}-99")));
    }

    private static Task<WriteResult> Start(Func<WriteResult> write) => Task.Factory.StartNew(write, TaskCreationOptions.LongRunning);

    private static void AwaitQueued(Store store, int count) =>
        Assert.True(SpinWait.SpinUntil(() => store.GetStatistics().Partitions[0].QueuedWrites == count, Patience), $"{count} writes are queued");

    private static bool IsLogged(StoreFixture fixture, string value)
    {
        using StorageFile journal = fixture.Files.Open("/data/journal/0000000001.journal", writable: false);
        var bytes = new byte[1 << 16];
        int read = journal.Read(0, bytes);
        return bytes.AsSpan(0, read).IndexOf(Encoding.UTF8.GetBytes(value)) >= 0;
    }

    /// <summary>A merge that keeps the writer in the middle of applying until it is let through.</summary>
    private sealed class Gate : MergeFunction, IDisposable
    {
        private readonly SemaphoreSlim _open = new(0);
        private int _calls;

        public override string Name => "gate";

        public override string? Merge(in MergeInput input, IBufferWriter<byte> result)
        {
            Interlocked.Increment(ref _calls);
            Assert.True(_open.Wait(Patience));
            result.Write(input.Operand);
            return null;
        }

        public void AwaitCalls(int count) => Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref _calls) == count, Patience));

        public void Open(int times) => _open.Release(times);

        public void Dispose() => _open.Dispose();
    }
}
