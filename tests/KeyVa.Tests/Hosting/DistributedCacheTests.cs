using System.Buffers;
using System.Text;
using KeyVa.Hosting;
using KeyVa.Io;
using Microsoft.Extensions.Caching.Distributed;
using Xunit;

namespace KeyVa.Tests.Hosting;

/// <summary>IDistributedCache keeps what it promises, with a clock that stands still unless it is moved.</summary>
public sealed class DistributedCacheTests : IAsyncLifetime
{
    private readonly ManualTime _time = new();
    private Store _store = null!;
    private KeyVaDistributedCache _cache = null!;

    public Task InitializeAsync()
    {
        _store = Store.Open("/data", new StoreOptions { JournalSegmentBytes = 1 << 20 }, new StoreEnvironment { FileSystem = new MemoryFileSystem(), Time = _time });
        _cache = new KeyVaDistributedCache(_store, new KeyVaCacheOptions(), _time);
        return Task.CompletedTask;
    }

    public async Task DisposeAsync() => await _store.DisposeAsync();

    [Fact]
    public async Task ValuesAreKeptReplacedAndRemoved()
    {
        Assert.Null(await _cache.GetAsync("a"));
        Assert.Null(_cache.Get("a"));
        await _cache.SetAsync("a", [1, 2, 3], new DistributedCacheEntryOptions());
        Assert.Equal([1, 2, 3], (await _cache.GetAsync("a"))!);
        _cache.Set("a", [], new DistributedCacheEntryOptions());
        Assert.Equal([], _cache.Get("a")!);
        ReadOnlySequence<byte> pieces = Pieces([4, 5], [6]);
        await _cache.SetAsync("b", pieces, new DistributedCacheEntryOptions());
        ArrayBufferWriter<byte> writer = new();
        Assert.True(await _cache.TryGetAsync("b", writer));
        Assert.True(_cache.TryGet("b", writer));
        Assert.Equal([4, 5, 6, 4, 5, 6], writer.WrittenSpan.ToArray());
        Assert.False(_cache.TryGet("c", writer));
        await _cache.RemoveAsync("a");
        _cache.Remove("a");
        Assert.Null(await _cache.GetAsync("a"));

        // It keeps to its own part of the store.
        using (ValueLease lease = _store.Get("cache:b"u8))
        {
            Assert.True(lease.Found);
        }

    }

    [Fact]
    public async Task AbsoluteExpiryEndsAnEntryHoweverOftenItIsUsed()
    {
        await _cache.SetAsync("relative", [1], new DistributedCacheEntryOptions { AbsoluteExpirationRelativeToNow = TimeSpan.FromSeconds(10) });
        await _cache.SetAsync("moment", [1], new DistributedCacheEntryOptions { AbsoluteExpiration = _time.GetUtcNow().AddSeconds(10), SlidingExpiration = TimeSpan.FromSeconds(8) });
        _time.Advance(TimeSpan.FromSeconds(6));
        Assert.NotNull(await _cache.GetAsync("relative"));
        Assert.NotNull(await _cache.GetAsync("moment"));
        _time.Advance(TimeSpan.FromSeconds(3.9));
        Assert.NotNull(await _cache.GetAsync("moment"));
        _time.Advance(TimeSpan.FromSeconds(0.1));
        Assert.Null(await _cache.GetAsync("relative"));
        Assert.Null(await _cache.GetAsync("moment"));
        Assert.Throws<ArgumentOutOfRangeException>(() => _cache.Set("past", [1], new DistributedCacheEntryOptions { AbsoluteExpiration = _time.GetUtcNow() }));
    }

    [Fact]
    public async Task SlidingExpiryCountsFromTheLastUse()
    {
        DistributedCacheEntryOptions sliding = new() { SlidingExpiration = TimeSpan.FromSeconds(5) };
        await _cache.SetAsync("used", [1], sliding);
        await _cache.SetAsync("refreshed", [1], sliding);
        await _cache.SetAsync("idle", [1], sliding);
        for (int i = 0; i < 4; i++)
        {
            _time.Advance(TimeSpan.FromSeconds(4));
            Assert.NotNull(await _cache.GetAsync("used"));
            await _cache.RefreshAsync("refreshed");
        }

        Assert.Null(await _cache.GetAsync("idle"));
        Assert.NotNull(await _cache.GetAsync("refreshed"));
        _time.Advance(TimeSpan.FromSeconds(5));
        Assert.Null(await _cache.GetAsync("used"));
        Assert.Null(await _cache.GetAsync("refreshed"));
    }

    [Fact]
    public async Task AUseBringsNothingBack()
    {
        // Uses, replacements and removals at once: what is there in the end is what was written last, or nothing.
        DistributedCacheEntryOptions sliding = new() { SlidingExpiration = TimeSpan.FromMinutes(5) };
        for (int round = 0; round < 50; round++)
        {
            await _cache.SetAsync("k", [0], sliding);
            Task[] uses = [.. Enumerable.Range(0, 4).Select(_ => Task.Run(() => _cache.GetAsync("k")))];
            byte last = (byte)(round + 1);
            await Task.WhenAll([.. uses, Task.Run(() => _cache.SetAsync("k", [last], sliding))]);
            Assert.Equal([last], (await _cache.GetAsync("k"))!);
            Task[] again = [.. Enumerable.Range(0, 4).Select(_ => Task.Run(() => _cache.RefreshAsync("k")))];
            await Task.WhenAll([.. again, Task.Run(() => _cache.RemoveAsync("k"))]);
            Assert.Null(await _cache.GetAsync("k"));
        }
    }

    [Fact]
    public async Task WhatCannotBeKeptIsRefused()
    {
        Assert.Throws<ArgumentException>(() => _cache.Get(new string('x', Limits.MaxKeyBytes)));
        RefusedException large = await Assert.ThrowsAsync<RefusedException>(() => _cache.SetAsync("large", new byte[_store.Options.MaxValueBytes + 1], new DistributedCacheEntryOptions()));
        Assert.Equal(Status.TooLarge, large.Status);

        // Not written by the cache: nothing, rather than rubbish.
        _store.Upsert("cache:foreign"u8, Encoding.ASCII.GetBytes("no header, though it is long enough"));
        Assert.Null(await _cache.GetAsync("foreign"));
    }

    private static ReadOnlySequence<byte> Pieces(byte[] first, byte[] second)
    {
        Piece head = new(first, 0);
        Piece tail = head.Append(second);
        return new ReadOnlySequence<byte>(head, 0, tail, second.Length);
    }

    private sealed class Piece : ReadOnlySequenceSegment<byte>
    {
        public Piece(byte[] bytes, long index)
        {
            Memory = bytes;
            RunningIndex = index;
        }

        public Piece Append(byte[] bytes)
        {
            Piece next = new(bytes, RunningIndex + Memory.Length);
            Next = next;
            return next;
        }
    }
}
