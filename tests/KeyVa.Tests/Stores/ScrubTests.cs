using System.Collections.Concurrent;
using KeyVa.Io;
using KeyVa.Simulation;
using Xunit;

namespace KeyVa.Tests.Stores;

public sealed class ScrubTests
{
    [Theory]
    [InlineData(".sst")]
    [InlineData("checkpoint-")]
    [InlineData(".journal")]
    public void DamageInAFileThatNobodyReadsIsFoundAndNamed(string kind)
    {
        FolderImage image = SmallStore.Image(killed: true);
        MemoryFileSystem files = image.Write();
        using var timers = new HandTimers();
        var work = new DeterministicWork(new Random(1));
        Store store = Store.Open(SmallStore.Directory, SmallStore.Options, SmallStore.Environment(files, timers, work));
        try
        {
            // What opening brings about is done before a file is chosen, so that no compaction takes that file away.
            SmallStore.Settle(work);
            Pass(store, timers, work);
            Assert.Empty(store.ScrubDamages);
            long bytes = store.GetStatistics().ScrubbedBytes;
            Assert.InRange(bytes, 8000, 1 << 20);

            string path = Files(files, SmallStore.Directory).First(path => path.Contains(kind, StringComparison.Ordinal) && Used(files, path) > 700);
            files.Corrupt(path, 600, 0x20);
            Pass(store, timers, work);
            CorruptionException damage = Assert.Single(store.ScrubDamages);
            Assert.Equal(path, damage.File);
            Assert.InRange(damage.Offset, 0, 600);

            // The same place counts once, however often it is met.
            Pass(store, timers, work);
            Assert.Single(store.ScrubDamages);
            Assert.Equal((3L, 1L), (store.GetStatistics().ScrubPasses, store.GetStatistics().ScrubDamages));
        }
        finally
        {
            Close(store);
        }
    }

    [Fact]
    public void PassesKeepToTheIntervalAndTheRate()
    {
        var fixture = new StoreFixture();
        using var timers = new HandTimers();
        var options = new StoreOptions { ScrubInterval = TimeSpan.FromHours(5), ScrubBytesPerSecond = 1 << 20, JournalSegmentBytes = 1 << 20 };
        Store store = Store.Open("/data", options, new StoreEnvironment { FileSystem = fixture.Files, Time = timers });
        for (int i = 0; i < 40; i++)
        {
            Assert.True(store.Upsert(StoreFixture.Bytes($"k{i}"), new byte[50_000]).IsOk);
        }

        Assert.Equal([TimeSpan.FromHours(1)], timers.Waits);
        for (int fired = 0; store.GetStatistics().ScrubPasses == 0; fired++)
        {
            Assert.True(fired < 100);
            Fire(store, timers);
        }

        TimeSpan[] waits = [.. timers.Waits];
        Assert.Equal(TimeSpan.FromHours(5), waits[^1]);
        double seconds = waits[1..^1].Sum(static wait => wait.TotalSeconds);
        Assert.InRange(seconds, 1.8, 2.2);
        Assert.All(waits[1..^1], static wait => Assert.InRange(wait.TotalSeconds, 0, 0.3));
        Close(store);
    }

    [Fact]
    public void ZeroMeansNeverUnlessAskedFor()
    {
        var fixture = new StoreFixture();
        using var timers = new HandTimers();
        Store store = Store.Open("/data", new StoreOptions { ScrubInterval = TimeSpan.Zero }, new StoreEnvironment { FileSystem = fixture.Files, Time = timers });
        Assert.Empty(timers.Waits);
        Pass(store, timers);
        Assert.Equal(1, store.GetStatistics().ScrubPasses);
        Close(store);
    }

    [Fact]
    public void ClosingEndsAPassThatIsUnderWay()
    {
        FolderImage image = SmallStore.Image(killed: true);
        using var timers = new HandTimers();
        Store store = Store.Open(SmallStore.Directory, SmallStore.Options, SmallStore.Environment(image.Write(), timers));
        store.BeginScrub();
        timers.Fire();
        Close(store);
        timers.Fire();
        Assert.Equal(0, store.GetStatistics().ScrubPasses);
    }

    [Fact]
    public async Task OneThatIsAskedForHasItsOwnRateAndEndsWithWhatItFound()
    {
        FolderImage image = SmallStore.Image(killed: true);
        MemoryFileSystem files = image.Write();
        var work = new DeterministicWork(new Random(1));
        Store store = Store.Open(SmallStore.Directory, SmallStore.Options, SmallStore.Environment(files, work: work));
        SmallStore.Settle(work);
        ScrubResult clean = await Ended(store.BeginScrub(null, 1 << 30));
        Assert.Equal((Status.Ok, 0L), (clean.Status, clean.DamageCount));
        Assert.InRange(clean.BytesRead, 8000, 1 << 20);
        string path = Files(files, SmallStore.Directory).First(path => path.Contains("checkpoint-", StringComparison.Ordinal) && Used(files, path) > 700);
        files.Corrupt(path, 600, 0x20);
        ScrubResult found = await Ended(store.BeginScrub(2, 1 << 30));
        Assert.Equal(path, Assert.Single(found.Damages).File);
        Assert.Equal(path, Assert.Single(store.ScrubDamages).File);
        Assert.True(found.BytesRead < clean.BytesRead);
        Assert.Equal(0, (await Ended(store.BeginScrub(1, 1 << 30))).DamageCount);
        Assert.Equal(Status.NotFound, (await Ended(store.BeginScrub(7))).Status);
        Assert.Throws<ArgumentOutOfRangeException>(() => store.BeginScrub(null, 100));
        Close(store);

        Task<ScrubResult> Ended(StoreScrub scrub)
        {
            SmallStore.Settle(work);
            return scrub.Completion;
        }
    }

    [Fact]
    public async Task AskedForScrubsAreBoundedCancelledAndEndWithTheStore()
    {
        var fixture = new StoreFixture();
        Store store = fixture.Open();
        for (int i = 0; i < 40; i++)
        {
            Assert.True(store.Upsert(StoreFixture.Bytes($"k{i}"), new byte[50_000]).IsOk);
        }

        using var cancellation = new CancellationTokenSource();
        List<StoreScrub> slow = [.. Enumerable.Range(0, KeyVa.Partitions.Scrubber.MaxAsked).Select(i => store.BeginScrub(null, 64 << 10, i == 0 ? cancellation.Token : default))];
        ScrubResult refused = await store.BeginScrub(null, 64 << 10).Completion;
        Assert.Equal((Status.Busy, "4 scrubs are under way"), (refused.Status, refused.Detail));
        await cancellation.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => slow[0].Completion);
        Close(store);
        foreach (StoreScrub scrub in slow.Skip(1))
        {
            await Assert.ThrowsAsync<StoreException>(() => scrub.Completion);
        }
    }

    /// <summary>From the beginning of a pass to its end.</summary>
    private static void Pass(Store store, HandTimers timers, DeterministicWork? work = null)
    {
        long before = store.GetStatistics().ScrubPasses;
        store.BeginScrub();
        for (int fired = 0; store.GetStatistics().ScrubPasses == before; fired++)
        {
            Assert.True(fired < 200, "the pass does not end");
            Fire(store, timers, work);
        }
    }

    /// <summary>Lets the timer that waits fire, and waits until the piece it stands for was read.</summary>
    private static void Fire(Store store, HandTimers timers, DeterministicWork? work = null)
    {
        int waits = timers.Waits.Count;
        long passes = store.GetStatistics().ScrubPasses;
        timers.Fire();
        if (work is not null)
        {
            SmallStore.Settle(work);
        }

        Assert.True(SpinWait.SpinUntil(() => timers.Waits.Count > waits || store.GetStatistics().ScrubPasses > passes, TimeSpan.FromSeconds(20)));
    }

    private static IEnumerable<string> Files(MemoryFileSystem files, string directory) => files.List(directory).SelectMany(name =>
        files.DirectoryExists($"{directory}/{name}") ? Files(files, $"{directory}/{name}") : [$"{directory}/{name}"]);

    private static int Used(MemoryFileSystem files, string path)
    {
        using StorageFile file = files.Open(path, writable: false);
        byte[] bytes = new byte[file.Length];
        file.Read(0, bytes);
        return bytes.AsSpan().LastIndexOfAnyExcept((byte)0) + 1;
    }

    private static void Close(Store store) => store.DisposeAsync().AsTask().GetAwaiter().GetResult();

    /// <summary>Notes what the scrubber's timer is set to, and fires it by hand; other timers run on the system's clock.</summary>
    private sealed class HandTimers : TimeProvider, IDisposable
    {
        private readonly ConcurrentQueue<TimeSpan> _waits = new();
        private HandTimer? _timer;

        /// <summary>What the timer was set to, in order.</summary>
        public ConcurrentQueue<TimeSpan> Waits => _waits;

        public void Fire() => _timer!.Fire();

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            if (state is not KeyVa.Partitions.Scrubber)
            {
                return base.CreateTimer(callback, state, dueTime, period);
            }

            return _timer = new HandTimer(this, callback, state);
        }

        public void Dispose() => _timer?.Dispose();

        private sealed class HandTimer(HandTimers owner, TimerCallback callback, object state) : ITimer
        {
            public void Fire() => callback(state);

            public bool Change(TimeSpan dueTime, TimeSpan period)
            {
                owner._waits.Enqueue(dueTime);
                return true;
            }

            public void Dispose()
            {
            }

            public ValueTask DisposeAsync() => default;
        }
    }
}
