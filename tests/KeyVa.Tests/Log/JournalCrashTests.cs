using KeyVa.Io;
using KeyVa.Log;
using Xunit;
using static KeyVa.Tests.Log.JournalTests;

namespace KeyVa.Tests.Log;

/// <summary>Power is lost at any operation, again and again, under every durability, and syncs fail; a counter is the model.</summary>
public sealed class JournalCrashTests
{
    // More by hand: KEYVA_SEEDS=100000.
    private static readonly int Seeds =
        int.TryParse(Environment.GetEnvironmentVariable("KEYVA_SEEDS"), out int seeds) ? seeds : 3000;

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
        var model = new Model();
        int lives = 1 + random.Next(4);
        for (int life = 0; life < lives; life++)
        {
            var crash = new CrashPoint(disk, random.Next(120), random.Next());
            Journal? journal = null;
            try
            {
                journal = Open(disk, options);
                if (crash.Left is null)
                {
                    model.Check(journal);
                }

                Append(journal, crash, random, model);
            }
            catch (StorageException) when (crash.Left is not null)
            {
                // The machine is off.
            }

            // Without a crash so far: the process is killed, or power is lost now.
            bool killed = crash.Left is null && random.Next(2) == 0;
            model.Alive = killed ? model.Acknowledged : 0;
            MemoryFileSystem left = crash.Left ?? (killed ? disk.Kill() : disk.Crash(random.Next()));
            journal?.Dispose();
            disk = left;
        }

        using Journal final = Open(disk, options);
        model.Check(final);
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
            ReuseFromGroupBytes = seed % 4 == 0 ? 1024 : 0,
            NextSalt = () => ++salt,
        };
    }

    private static void Append(Journal journal, CrashPoint crash, Random random, Model model)
    {
        var entry = TestEntry.Of(1, 1);
        for (int i = random.Next(60); i >= 0 && crash.Left is null && journal.Failure is null; i--)
        {
            long index = ++model.Attempted;
            entry.Fill(random.Next(3), index, random.Next(20) == 0 ? random.Next(5000) : random.Next(200), (byte)index);
            AppendOutcome outcome = journal.Append(entry);
            if (outcome == AppendOutcome.Appended && crash.Left is null)
            {
                model.Acknowledge(index, journal);
            }

            if (random.Next(60) == 0)
            {
                crash.FailSync(journal);
            }

            if (random.Next(25) == 0)
            {
                model.Released = Math.Max(model.Released, model.Safe - 5);
                for (int partition = 0; partition < 3; partition++)
                {
                    journal.Release(partition, model.Released);
                }
            }
        }
    }

    /// <summary>What must be there, what may be there.</summary>
    private sealed class Model
    {
        private readonly List<(long Index, long End)> _ends = [];

        public long Attempted { get; set; }

        public long Acknowledged { get; private set; }

        /// <summary>Up to here a sync has confirmed everything.</summary>
        public long Safe { get; private set; }

        /// <summary>Up to here everything has to be there though no sync confirmed it: no power was lost since.</summary>
        public long Alive { get; set; }

        public long Released { get; set; }

        public void Acknowledge(long index, Journal journal)
        {
            Acknowledged = index;
            _ends.Add((index, journal.EndOffset));
            int synced = _ends.FindLastIndex(e => e.End <= journal.SyncedOffset);
            if (synced >= 0)
            {
                Safe = Math.Max(Safe, _ends[synced].Index);
                _ends.RemoveRange(0, synced + 1);
            }
        }

        public void Check(Journal journal)
        {
            var order = new Order();
            journal.Replay(order);
            for (int i = 1; i < order.Indexes.Count; i++)
            {
                Assert.Equal(order.Indexes[i - 1] + 1, order.Indexes[i]);
            }

            long required = Math.Max(Safe, Alive);
            long first = order.Indexes.Count > 0 ? order.Indexes[0] : Attempted + 1;
            long last = order.Indexes.Count > 0 ? order.Indexes[^1] : Math.Max(Safe, Released);
            Assert.True(order.Indexes.Count > 0 || required <= Released, $"all is gone, but {required} was safe");
            Assert.True(order.Indexes.Count == 0 || first <= Released + 1, $"begins at {first}, released was {Released}");
            Assert.InRange(last, required, Attempted);
            Attempted = last;
            Acknowledged = last;
            Safe = last;
            _ends.Clear();
        }
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
        private int _countdown;

        public CrashPoint(MemoryFileSystem disk, int countdown, int seed)
        {
            _disk = disk;
            _countdown = countdown;
            _seed = seed;
            disk.Faults.Decide = (_, _) => Decide();
        }

        public MemoryFileSystem? Left { get; private set; }

        /// <summary>The next sync fails, now or with the next append; the system then takes the pages for clean.</summary>
        public void FailSync(Journal journal)
        {
            _disk.Faults.FailNext(FileOperation.SyncData);
            try
            {
                journal.Sync();
            }
            catch (StorageException)
            {
                // As wanted: the journal has stopped.
            }
        }

        private int Decide()
        {
            if (Left is null && _countdown-- <= 0)
            {
                Left = _disk.AfterPowerLoss(_seed);
            }

            return Left is null ? 0 : Posix.InputOutput;
        }
    }
}
