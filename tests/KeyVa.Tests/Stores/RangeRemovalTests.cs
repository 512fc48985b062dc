using KeyVa.Partitions;
using Xunit;
using static KeyVa.Tests.Stores.StoreFixture;

namespace KeyVa.Tests.Stores;

/// <summary>Removing ranges through the store: bounds, batches, partitions, replay.</summary>
public sealed class RangeRemovalTests
{
    private static readonly ScanOptions All = new() { Unordered = true };

    [Theory]
    [InlineData(EngineKind.Lsm)]
    [InlineData(EngineKind.Memory)]
    public async Task BoundsAreInclusiveAndExclusiveOrOpen(EngineKind engine)
    {
        var fixture = new StoreFixture(new StoreOptions { Engine = engine, JournalSegmentBytes = 1 << 20 });
        await using (Store store = fixture.Open())
        {
            foreach ((string from, string to, string left) in new[]
            {
                ("b", "d", "a d e"), ("b", "", "a"), ("", "b", "b c d e"), ("", "", ""), ("bb", "bz", "a b c d e"), ("c", "c\0", "a b d e"),
            })
            {
                Fill(store, "abcde");
                WriteResult result = from == "b" ? await store.RemoveRangeAsync(Bytes(from), Bytes(to)) : store.RemoveRange(Bytes(from), Bytes(to));
                Assert.Equal(Status.Ok, result.Status);
                Assert.True(result.Version > 0);
                Assert.Equal(left, Keys(store));
            }

            Assert.Equal(Status.Invalid, store.RemoveRange("b"u8, "b"u8).Status);
            WriteResult reversed = await store.RemoveRangeAsync(Bytes("c"), Bytes("b"));
            Assert.Equal((Status.Invalid, 0), (reversed.Status, reversed.FailedOperation));
            Assert.Contains("empty", reversed.Detail, StringComparison.Ordinal);
            Assert.Equal(Status.TooLarge, store.RemoveRange(new byte[Limits.MaxKeyBytes + 1], default).Status);
            KeyRange prefix = KeyRange.WithPrefix(Bytes("c"));
            Fill(store, "abcde");
            Set(store, "c\u00ff", "1");
            Assert.True(store.RemoveRange(prefix.From.Span, prefix.To.Span).IsOk);
            Assert.Equal("a b d e", Keys(store));
        }

        fixture.Files = fixture.Files.Crash(3);
        await using (Store store = fixture.Open())
        {
            Assert.Equal("a b d e", Keys(store));
        }
    }

    [Theory]
    [InlineData(EngineKind.Lsm)]
    [InlineData(EngineKind.Memory)]
    public async Task ARangeTakesWhatWasThereBeforeItsBatch(EngineKind engine)
    {
        var fixture = new StoreFixture(new StoreOptions { Engine = engine });
        await using Store store = fixture.Open();
        Fill(store, "abcde");
        using var batch = new WriteBatch();
        batch.Put("b"u8, "new"u8).RemoveRange("a"u8, "e"u8).Put("c2"u8, "new"u8).Remove("d"u8).Remove("x"u8).RemoveRange("b"u8, default);
        WriteResult result = store.Write(batch);
        Assert.Equal((Status.Ok, true), (result.Status, result.Removed.Span.SequenceEqual([false, true, false, true, false, true])));
        Assert.Equal("b c2", Keys(store));
        Assert.Equal("new", Get(store, "b"));

        batch.Clear();
        batch.RemoveRange(default, default).Put("b"u8, "x"u8, new WriteOptions { Condition = Condition.IfAbsent });
        Assert.Equal(Status.ConditionFailed, store.Write(batch).Status);
        Assert.Equal("b c2", Keys(store));
        batch.Clear();
        batch.Put("a"u8, "x"u8).RemoveRange("q"u8, "p"u8);
        result = store.Write(batch);
        Assert.Equal((Status.Invalid, 1), (result.Status, result.FailedOperation));
        Assert.Equal(Status.ConditionFailed, Set(store, "c", "x", new WriteOptions { Condition = Condition.IfPresent }).Status);
        Assert.True(Set(store, "c", "x", new WriteOptions { Condition = Condition.IfAbsent }).IsOk);
    }

    [Fact]
    public async Task ARangeOverPartitionsGoesAtOneVersionOrNotAtAll()
    {
        var fixture = new StoreFixture(new StoreOptions { CreateDefaultPartition = false, JournalSegmentBytes = 1 << 20 });
        await using (Store store = fixture.Open())
        {
            store.Partitions.Add(new KeyRange(default, Bytes("c")));
            store.Partitions.Add(new KeyRange(Bytes("c"), Bytes("f")), EngineKind.Memory);
            Assert.Equal(Status.BadNode, store.RemoveRange("b"u8, default).Status);
            store.Partitions.Add(new KeyRange(Bytes("f"), default));
            Fill(store, "abcdefgh");
            WriteResult result = store.RemoveRange("b"u8, "g"u8);
            Assert.True(result.IsOk);
            Assert.Equal("a g h", Keys(store));
            Fill(store, "bcdef");
            using var batch = new WriteBatch();
            batch.RemoveRange("a"u8, "d"u8).Put("h"u8, "2"u8, new WriteOptions { Condition = Condition.IfAbsent });
            Assert.Equal((Status.ConditionFailed, 1), (store.Write(batch).Status, store.Write(batch).FailedOperation));
            Assert.Equal("a b c d e f g h", Keys(store));
            batch.Clear();
            batch.RemoveRange("a"u8, "d"u8).Put("b"u8, "2"u8);
            Assert.True((await store.WriteAsync(batch)).IsOk);
        }

        fixture.Files = fixture.Files.Crash(5);
        await using (Store store = fixture.Open())
        {
            Assert.Equal("b d e f g h", Keys(store));
            Assert.True(store.RemoveRange(default, default).IsOk);
            Assert.Equal("", Keys(store));
        }
    }

    [Fact]
    public async Task ADurablePartitionAndAVolatileOneAreRefusedTogether()
    {
        await using Store store = new StoreFixture(new StoreOptions { CreateDefaultPartition = false }).Open();
        store.Partitions.Add(new KeyRange(default, Bytes("m")));
        store.Partitions.Add(new KeyRange(Bytes("m"), default), EngineKind.Memory, isVolatile: true);
        Assert.Equal(Status.Unsupported, store.RemoveRange("a"u8, "z"u8).Status);
        Assert.True(store.RemoveRange("m"u8, "z"u8).IsOk);
    }

    [Theory]
    [InlineData(EngineKind.Lsm)]
    [InlineData(EngineKind.Memory)]
    public async Task AScanGoesOnWithWhatItsSnapshotSaw(EngineKind engine)
    {
        await using Store store = new StoreFixture(new StoreOptions { Engine = engine }).Open();
        Fill(store, "abcde");
        using ScanCursor cursor = store.Scan(All);
        Assert.True(cursor.MoveNext());
        store.RemoveRange(default, default);
        int seen = 1;
        while (cursor.MoveNext())
        {
            seen++;
        }

        Assert.Equal(5, seen);
        Assert.Equal("", Keys(store));
    }

    [Fact]
    public void OnlyARecordThatRemovesARangeHasTheNewFormat()
    {
        using var command = new CommandBuilder();
        var entry = new GroupEntry(1, static () => { });
        command.Put("a"u8, "b"u8, default);
        entry.Begin(1, 1);
        entry.Add(command);
        entry.Seal(1, 1);
        Assert.Equal(GroupEntry.Format, entry.Content[0] & GroupEntry.FormatMask);
        command.Clear();
        command.RemoveRange("a"u8, default);
        entry.Begin(1, 2);
        entry.Add(command);
        entry.Seal(2, 1);
        Assert.Equal(GroupEntry.FormatWithRanges, entry.Content[0] & GroupEntry.FormatMask);
        Assert.True(GroupReader.TryOpen(entry.Content, out GroupReader group));
        Assert.True(group.TryRead(out ReadOnlySpan<byte> bytes));
        Assert.True(OperationEncoding.TryRead(ref bytes, out Operation operation));
        Assert.True(operation.IsRange && operation.Key.SequenceEqual("a"u8) && operation.To.IsEmpty && bytes.IsEmpty);
        entry.Begin(1, 3);
        command.Clear();
        command.Remove("a"u8, default, blind: true);
        entry.Add(command);
        entry.Seal(3, 1);
        Assert.Equal(GroupEntry.Format, entry.Content[0] & GroupEntry.FormatMask);
    }

    private static void Fill(Store store, string keys)
    {
        foreach (char key in keys)
        {
            Assert.True(Set(store, key.ToString(), "1").IsOk);
        }
    }

    private static string Keys(Store store) =>
        string.Join(' ', Scan(store, All).Split(' ', StringSplitOptions.RemoveEmptyEntries).Order(StringComparer.Ordinal));
}
