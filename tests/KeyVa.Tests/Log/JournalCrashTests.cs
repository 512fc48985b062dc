using KeyVa.Io;
using KeyVa.Log;
using Xunit;
using static KeyVa.Tests.Log.JournalTests;

namespace KeyVa.Tests.Log;

/// <summary>Power is lost at any operation, again and again, under every durability; a counter is the model.</summary>
public sealed class JournalCrashTests
{
    private const int Seeds = 3000;

    // Records carry 1, 2, 3, ... as their index, whatever their partition: so what a crash leaves must be a run of numbers.
    [Fact]
    public void WhatIsLeftIsARunThatHoldsAllThatWasAcknowledged()
    {
        Parallel.For(0, Seeds, seed =>
        {
            try
            {
                Live(seed);
            }
            catch (Exception error)
            {
                throw new InvalidOperationException($"seed {seed}", error);
            }
        });
    }

    private static void Live(int seed)
    {
        var random = new Random(seed);
        var disk = new MemoryFileSystem();
        JournalOptions options = Tiny(random, seed);
        long last = 0;
        long released = 0;
        int lives = 1 + random.Next(4);
        for (int life = 0; life < lives; life++)
        {
            var crash = new CrashPoint(disk, random.Next(120), random.Next());
            Journal? journal = null;
            try
            {
                journal = Open(disk, options);
                crash.Journal = journal;
                Append(journal, crash, random, ref last, ref released);
            }
            catch (StorageException) when (crash.Left is not null)
            {
                // The machine is off.
            }

            // Without a crash so far: the process is killed, or power is lost now.
            MemoryFileSystem left = crash.Left ?? (random.Next(2) == 0 ? disk.Kill() : disk.Crash(random.Next()));
            journal?.Dispose();
            last = Check(left, options, crash.Required, last, released);
            disk = left;
        }
    }

    private static JournalOptions Tiny(Random random, int seed)
    {
        ulong salt = (ulong)seed << 20;
        return new JournalOptions
        {
            Durability = (Durability)random.Next(3),
            SegmentBytes = 1024 << random.Next(4),
            ReserveBytes = random.Next(2) * 2048,
            SyncInterval = TimeSpan.FromHours(1),
            IdleMark = TimeSpan.FromHours(1),
            NextSalt = () => ++salt,
        };
    }

    private static void Append(Journal journal, CrashPoint crash, Random random, ref long last, ref long released)
    {
        var entry = TestEntry.Of(1, 1);
        for (int i = random.Next(60); i >= 0 && crash.Left is null && journal.Failure is null; i--)
        {
            last++;
            crash.Attempted = last;
            entry.Fill(random.Next(3), last, random.Next(20) == 0 ? random.Next(5000) : random.Next(200), (byte)last);
            AppendOutcome outcome = journal.Append(entry);
            if (outcome == AppendOutcome.Appended)
            {
                crash.Acknowledge(last, journal);
            }

            if (random.Next(25) == 0 && last > 10)
            {
                released = Math.Max(released, Math.Min(crash.Required, last - 5));
                for (int partition = 0; partition < 3; partition++)
                {
                    journal.Release(partition, released);
                }
            }
        }
    }

    // Returns the last number left.
    private static long Check(MemoryFileSystem disk, JournalOptions options, long required, long attempted, long released)
    {
        // A look first, on a copy, so that the next life finds the state as the crash left it.
        var collector = new Order();
        using (Journal journal = Open(disk.AfterPowerLoss(0), options))
        {
            journal.Replay(collector);
        }

        for (int i = 1; i < collector.Indexes.Count; i++)
        {
            Assert.Equal(collector.Indexes[i - 1] + 1, collector.Indexes[i]);
        }

        if (collector.Indexes.Count == 0)
        {
            Assert.True(required <= released, $"all is gone, but {required} was safe");
            return Math.Max(required, released);
        }

        Assert.True(collector.Indexes[0] <= released + 1, $"begins at {collector.Indexes[0]}, released was {released}");
        Assert.InRange(collector.Indexes[^1], required, attempted);
        return collector.Indexes[^1];
    }

    private sealed class Order : IJournalReader
    {
        public List<long> Indexes { get; } = [];

        public void Read(in JournalRecord record) => Indexes.Add(record.Positions[0].Index);
    }

    /// <summary>Takes the state that a power loss leaves at the n-th operation, and lets everything after it fail.</summary>
    private sealed class CrashPoint
    {
        private readonly MemoryFileSystem _disk;
        private readonly int _seed;
        private readonly List<(long Index, long End)> _ends = [];
        private int _countdown;
        private long _required;

        public CrashPoint(MemoryFileSystem disk, int countdown, int seed)
        {
            _disk = disk;
            _countdown = countdown;
            _seed = seed;
            disk.Faults.Decide = (_, _) => Decide();
        }

        public MemoryFileSystem? Left { get; private set; }

        public Journal? Journal { get; set; }

        public long Attempted { get; set; }

        /// <summary>Up to here everything has to be there.</summary>
        public long Required => Volatile.Read(ref _required);

        public void Acknowledge(long index, Journal journal)
        {
            _ends.Add((index, journal.EndOffset));
            Note(journal.SyncedOffset);
        }

        private void Note(long synced)
        {
            foreach ((long index, long end) in _ends)
            {
                if (end <= synced && index > _required)
                {
                    _required = index;
                }
            }
        }

        private int Decide()
        {
            if (Left is not null)
            {
                return Posix.InputOutput;
            }

            if (_countdown-- > 0)
            {
                return 0;
            }

            Left = _disk.AfterPowerLoss(_seed);
            return Posix.InputOutput;
        }
    }
}
