using System.Globalization;
using KeyVa.Io;
using KeyVa.Log;
using Xunit;
using static KeyVa.Tests.Log.JournalTests;

namespace KeyVa.Tests.Log;

/// <summary>Callers that share writes and syncs.</summary>
public sealed class JournalConcurrencyTests
{
    [Theory]
    [InlineData(8, Durability.Always)]
    [InlineData(64, Durability.Always)]
    [InlineData(16, Durability.Interval)]
    [InlineData(16, Durability.Os)]
    public void EveryAcknowledgedEntryIsThereInTheOrderOfItsPartition(int threads, Durability durability)
    {
        int seed = Environment.TickCount;
        var disk = new MemoryFileSystem();
        Journal journal = Open(disk, Small with
        {
            Durability = durability,
            SegmentBytes = 256 << 10,
            SyncInterval = TimeSpan.FromMilliseconds(1),
            IdleMark = TimeSpan.FromMilliseconds(1),
        });
        long[] acknowledged = new long[threads];
        Thread[] workers = [.. Enumerable.Range(0, threads).Select(t => new Thread(() =>
        {
            var random = new Random(seed + t);
            TestEntry entry = TestEntry.Of(t, 1);
            for (int i = 1; i <= 3000 / threads * 4; i++)
            {
                entry.Fill(t, i, random.Next(300), (byte)i);
                AppendOutcome outcome;
                if (random.Next(2) == 0)
                {
                    journal.Enqueue(entry);
                    outcome = entry.Await();
                }
                else
                {
                    outcome = journal.Append(entry);
                }

                Assert.Equal(AppendOutcome.Appended, outcome);
                Volatile.Write(ref acknowledged[t], i);
            }
        }))];
        Array.ForEach(workers, worker => worker.Start());
        for (int i = 0; i < 20; i++)
        {
            long[] before = [.. acknowledged.Select((_, t) => Volatile.Read(ref acknowledged[t]))];
            MemoryFileSystem left = disk.AfterPowerLoss(seed + i);
            CheckLeft(left, durability == Durability.Always ? before : new long[threads], seed);
        }

        Array.ForEach(workers, worker => worker.Join());
        journal.Dispose();
        CheckLeft(disk.Crash(seed), acknowledged, seed);
    }

    [Fact]
    public void CallersThatComeDuringASyncShareTheNextOne()
    {
        const int callers = 16;
        var disk = new MemoryFileSystem();
        using Journal journal = Open(disk, Small with { IdleMark = TimeSpan.FromHours(1) });
        using var inSync = new SemaphoreSlim(0);
        using var goOn = new SemaphoreSlim(0);
        int held = 0;
        disk.Faults.Before = (operation, _) =>
        {
            if (operation == FileOperation.SyncData && Interlocked.Exchange(ref held, 1) == 0)
            {
                inSync.Release();
                goOn.Wait();
            }
        };
        var first = new Thread(() => journal.Append(TestEntry.Of(100, 1)));
        first.Start();
        inSync.Wait();
        long syncs = disk.Faults.Count(FileOperation.SyncData);
        long writes = disk.Faults.Count(FileOperation.Write);
        Thread[] threads = [.. Enumerable.Range(0, callers).Select(t => new Thread(() => journal.Append(TestEntry.Of(t, 1))))];
        Array.ForEach(threads, thread => thread.Start());
        TestEntry[] queued = [.. Enumerable.Range(0, callers).Select(t => TestEntry.Of(200 + t, 1))];
        Array.ForEach(queued, journal.Enqueue);
        Assert.True(SpinWait.SpinUntil(
            () => threads.All(thread => (thread.ThreadState & ThreadState.WaitSleepJoin) != 0),
            30_000));
        goOn.Release();
        Array.ForEach(threads, thread => thread.Join());
        Assert.All(queued, entry => Assert.Equal(AppendOutcome.Appended, entry.Await()));
        first.Join();
        Assert.Equal(syncs + 2, disk.Faults.Count(FileOperation.SyncData));
        Assert.Equal(writes + 1, disk.Faults.Count(FileOperation.Write));
    }

    [Theory]
    [InlineData(Durability.Always)]
    [InlineData(Durability.Os)]
    public void ACompletionMayEnqueueTheNextAndAppendToo(Durability durability)
    {
        var disk = new MemoryFileSystem();
        using (Journal journal = Open(disk, Small with { Durability = durability }))
        {
            using var done = new SemaphoreSlim(0);
            TestEntry other = TestEntry.Of(2, 1);
            TestEntry entry = TestEntry.Of(1, 1);
            int next = 1;
            entry.OnCompleted = e =>
            {
                Assert.Equal(AppendOutcome.Appended, e.Outcome);
                other.Fill(2, next, 20);
                Assert.Equal(AppendOutcome.Appended, journal.Append(other));
                if (++next > 5000)
                {
                    done.Release();
                    return;
                }

                e.Fill(1, next, 20);
                journal.Enqueue(e);
            };
            journal.Enqueue(entry);
            Assert.True(done.Wait(TimeSpan.FromSeconds(30)));
        }

        using Journal again = Open(disk);
        Collector left = Collector.Of(again);
        Assert.Equal(5000, left.Of(1).Count);
        Assert.Equal(5000, left.Of(2).Count);
    }

    [Fact]
    public void OneCallerAllocatesNothingAndNeverLeavesItsThread()
    {
        const int Many = 20_000;
        const int MostSwitches = 20;
        string folder = Directory.CreateTempSubdirectory("keyva").FullName;
        try
        {
            using Journal journal = Journal.Open(
                DiskFileSystem.Instance,
                folder,
                new JournalOptions { Durability = Durability.Os, ReserveBytes = 0 },
                TimeProvider.System);
            TestEntry entry = TestEntry.Of(1, 1);
            AppendMany(journal, entry, 1, Many);

            // A collection that other tests have caused makes the thread wait as well, and so does a system that cannot write as fast: what is the journal's own is there each time.
            long least = long.MaxValue;
            for (int round = 1; round <= 20 && least > MostSwitches; round++)
            {
                long allocated = GC.GetAllocatedBytesForCurrentThread();
                long switches = VoluntarySwitches();
                long read = GC.GetAllocatedBytesForCurrentThread() - allocated;
                AppendMany(journal, entry, (round * Many) + 1, (round + 1) * Many);
                long after = GC.GetAllocatedBytesForCurrentThread();
                Assert.Equal(read, after - allocated);
                least = Math.Min(least, VoluntarySwitches() - switches);
            }

            Assert.InRange(least, 0, MostSwitches);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static void AppendMany(Journal journal, TestEntry entry, int from, int to)
    {
        for (int i = from; i <= to; i++)
        {
            entry.Fill(1, i, 100);
            journal.Append(entry);
        }
    }

    private static long VoluntarySwitches()
    {
        foreach (string line in File.ReadLines("/proc/thread-self/status"))
        {
            if (line.StartsWith("voluntary_ctxt_switches:", StringComparison.Ordinal))
            {
                return long.Parse(line.AsSpan(line.IndexOf(':') + 1), CultureInfo.InvariantCulture);
            }
        }

        throw new InvalidOperationException("the kernel does not count context switches");
    }

    private static void CheckLeft(MemoryFileSystem left, long[] required, int seed)
    {
        using Journal journal = Open(left, Small with { SegmentBytes = 256 << 10 });
        Collector collector = Collector.Of(journal);
        for (int t = 0; t < required.Length; t++)
        {
            List<long> indexes = collector.Of(t);
            Assert.True(indexes.SequenceEqual(Enumerable.Range(1, indexes.Count).Select(i => (long)i)), $"seed {seed}: {t} is out of order");
            Assert.True(indexes.Count >= required[t], $"seed {seed}: {t} has {indexes.Count} of {required[t]}");
        }
    }
}
