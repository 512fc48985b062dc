using System.Buffers.Binary;
using KeyVa.Log;
using Xunit;

namespace KeyVa.Tests.Log;

/// <summary>An entry of one or more partitions whose completion can be waited for.</summary>
internal sealed class TestEntry : JournalEntry
{
    private readonly object _gate = new();
    private bool _completed;
    private LogPosition[] _positions = [];

    public override ReadOnlySpan<LogPosition> Positions => _positions;

    public Action<TestEntry>? OnCompleted { get; set; }

    public static TestEntry Of(long partition, long index, int bytes = 40, byte fill = 0)
    {
        var entry = new TestEntry { Kind = RecordKind.Commands };
        entry.Fill(partition, index, bytes, fill);
        return entry;
    }

    public static TestEntry Over(long index, int bytes, params long[] partitions)
    {
        var entry = new TestEntry { Kind = RecordKind.Commit };
        entry.Fill(partitions[0], index, bytes, 7);
        entry._positions = [.. partitions.Select(p => new LogPosition(p, 1, index))];
        return entry;
    }

    public void Fill(long partition, long index, int bytes, byte fill = 0)
    {
        if (_positions.Length != 1)
        {
            _positions = new LogPosition[1];
        }

        _positions[0] = new LogPosition(partition, 1, index);
        Payload.Clear();
        Span<byte> payload = Payload.Append(Math.Max(16, bytes));
        payload.Fill(fill);
        BinaryPrimitives.WriteInt64LittleEndian(payload, partition);
        BinaryPrimitives.WriteInt64LittleEndian(payload[8..], index);
    }

    public override void Completed()
    {
        OnCompleted?.Invoke(this);
        lock (_gate)
        {
            _completed = true;
            Monitor.PulseAll(_gate);
        }
    }

    public AppendOutcome Await()
    {
        lock (_gate)
        {
            while (!_completed)
            {
                Assert.True(Monitor.Wait(_gate, TimeSpan.FromSeconds(30)), "an entry was never completed");
            }

            _completed = false;
            return Outcome;
        }
    }
}

/// <summary>Collects what a journal holds: for each partition its indexes in order, and every record as text.</summary>
internal sealed class Collector : IJournalReader
{
    public Dictionary<long, List<long>> Indexes { get; } = [];

    public List<string> Records { get; } = [];

    public static Collector Of(Journal journal)
    {
        var collector = new Collector();
        journal.Replay(collector);
        return collector;
    }

    public void Read(in JournalRecord record)
    {
        string positions = "";
        foreach (LogPosition position in record.Positions)
        {
            if (!Indexes.TryGetValue(position.Partition, out List<long>? list))
            {
                Indexes.Add(position.Partition, list = []);
            }

            list.Add(position.Index);
            positions += $"{position.Partition}/{position.Term}/{position.Index} ";
        }

        ReadOnlySpan<byte> payload = record.Payload;
        Assert.Equal(record.Positions[0].Partition, BinaryPrimitives.ReadInt64LittleEndian(payload));
        Assert.Equal(record.Positions[0].Index, BinaryPrimitives.ReadInt64LittleEndian(payload[8..]));
        Records.Add($"{record.Kind} {positions}{payload.Length} {payload[^1]}");
    }

    public List<long> Of(long partition) => Indexes.GetValueOrDefault(partition) ?? [];
}
