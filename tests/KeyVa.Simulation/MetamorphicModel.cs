using System.Globalization;
using System.Text;
using KeyVa.Io;

namespace KeyVa.Simulation;

/// <summary>A record as the model has it; the write that made it stands for its version.</summary>
internal sealed record ModelRecord(int Write, byte[] Value, long Stamp, long ExpiresAt)
{
    public bool IsAlive(long now) => ExpiresAt == 0 || ExpiresAt > now;
}

/// <summary>
/// What the contracts say a store answers, on a sorted dictionary: each operation gives a line of text, which is what a
/// store under any option set must answer, too. Versions are told by the number of the operation that wrote them.
/// </summary>
internal sealed class MetamorphicModel
{
    private readonly SortedDictionary<string, ModelRecord> _records = new(StringComparer.Ordinal);
    private readonly Queue<(string Key, ModelRecord Record)>?[] _cursors = new Queue<(string, ModelRecord)>?[OperationGenerator.Slots];
    private readonly int[] _left = new int[OperationGenerator.Slots];
    private readonly bool[] _keysOnly = new bool[OperationGenerator.Slots];
    private readonly long _begin;
    private long _now;
    private long _gets;
    private long _found;
    private long _sets;
    private long _removes;
    private long _scans;
    private long _refused;

    public MetamorphicModel(long now)
    {
        _begin = now;
        _now = now;
    }

    /// <summary>The line of a record.</summary>
    public static string Line(string key, int write, ReadOnlySpan<byte> value, bool keysOnly, long stamp, long expiresAt) =>
        string.Create(CultureInfo.InvariantCulture, $"{MetamorphicOperation.Text(key)}=w{write}:{(keysOnly ? "" : $"{value.Length}/{Crc32C.Compute(value):x}")}@{stamp}!{expiresAt} ");

    /// <summary>The line of a write.</summary>
    public static string Line(Status status, int write, int failed, int current, ReadOnlySpan<bool> removed)
    {
        StringBuilder text = new();
        text.Append(CultureInfo.InvariantCulture, $"{status} w{write} failed {failed} current w{current} ");
        foreach (bool one in removed)
        {
            text.Append(one ? '1' : '0');
        }

        return text.ToString();
    }

    /// <summary>The line of the counters that are exact.</summary>
    public static string Line(long gets, long found, long sets, long removes, long scans, long refused) =>
        string.Create(CultureInfo.InvariantCulture, $"gets {gets} found {found} sets {sets} removes {removes} scans {scans} refused {refused} snapshots 0");

    public string Apply(MetamorphicOperation operation)
    {
        switch (operation.Kind)
        {
            case OperationKind.Put or OperationKind.Remove or OperationKind.RemoveRange:
                return Write([operation], operation.Index);
            case OperationKind.Batch:
                return Write(operation.Parts, operation.Index);
            case OperationKind.Get:
                return Get(operation);
            case OperationKind.MultiGet:
                return string.Concat(operation.Parts.Select(Get));
            case OperationKind.Scan:
                _scans++;
                return Scan(operation) is { } found ? string.Concat(found.Select(r => Line(r.Key, r.Record.Write, r.Record.Value, operation.KeysOnly, r.Record.Stamp, r.Record.ExpiresAt))) : "Invalid";
            case OperationKind.OpenCursor:
                return Open(operation);
            case OperationKind.StepCursor:
                return Step(operation.Slot, operation.Count);
            case OperationKind.CloseCursor:
                _cursors[operation.Slot] = null;
                return "";
            case OperationKind.Advance:
                _now += operation.Milliseconds;
                return "";
            case OperationKind.Boundary:
                Array.Clear(_cursors);
                return Line(_gets, _found, _sets, _removes, _scans, _refused);
            default:
                return "";
        }
    }

    private static bool IsWithin(string key, string from, string to) =>
        string.CompareOrdinal(key, from) >= 0 && (to.Length == 0 || string.CompareOrdinal(key, to) < 0);

    private ModelRecord? Find(string key) => _records.TryGetValue(key, out ModelRecord? record) && record.IsAlive(_now) ? record : null;

    private string Get(MetamorphicOperation operation)
    {
        _gets++;
        if (operation.Key.Length is 0 or > Limits.MaxKeyBytes)
        {
            return operation.Key.Length == 0 ? "Invalid" : "TooLarge";
        }

        ModelRecord? record = Find(operation.Key);
        _found += record is null ? 0 : 1;
        return record is null ? "NotFound " : Line(operation.Key, record.Write, record.Value, false, record.Stamp, record.ExpiresAt);
    }

    private string Write(IReadOnlyList<MetamorphicOperation> parts, int index)
    {
        foreach (MetamorphicOperation part in parts)
        {
            Resolve(part);
        }

        if (Refuse(parts) is { } refusal)
        {
            _refused++;
            return refusal;
        }

        bool hasRemovals = parts.Any(static part => part.Kind != OperationKind.Put);
        _ = hasRemovals ? _removes += parts.Count : _sets += parts.Count;
        bool[] removed = [.. parts.Select(part => part.Kind == OperationKind.RemoveRange
            || (part.Kind == OperationKind.Remove && (part.Blind || Find(part.Key) is not null)))];
        if (parts.Count == 1 && hasRemovals && !removed[0])
        {
            return Line(Status.NotFound, 0, -1, 0, []);
        }

        foreach (MetamorphicOperation part in parts.Where(static part => part.Kind == OperationKind.RemoveRange))
        {
            foreach (string key in _records.Keys.Where(key => IsWithin(key, part.Key, part.To)).ToArray())
            {
                _records.Remove(key);
            }
        }

        foreach (MetamorphicOperation part in parts)
        {
            if (part.Kind == OperationKind.Put)
            {
                long expiresAt = part.Milliseconds == 0 ? 0 : (part.Absolute ? _begin : _now) + part.Milliseconds;
                _records[part.Key] = new ModelRecord(index, part.Value, _now, expiresAt);
            }
            else if (part.Kind == OperationKind.Remove)
            {
                _records.Remove(part.Key);
            }
        }

        return Line(Status.Ok, index, -1, 0, hasRemovals && parts.Count > 1 ? removed : []);
    }

    /// <summary>Null if the write may happen, else how it is refused.</summary>
    private string? Refuse(IReadOnlyList<MetamorphicOperation> parts)
    {
        int empty = parts.ToList().FindIndex(static part => part.Kind == OperationKind.RemoveRange && part.To.Length > 0 && string.CompareOrdinal(part.Key, part.To) >= 0);
        HashSet<string> keys = new(StringComparer.Ordinal);
        int twice = parts.ToList().FindIndex(part => part.Kind != OperationKind.RemoveRange && !keys.Add(part.Key));
        Status status = empty >= 0 ? Status.Invalid
            : parts.Any(static part => part.Value.Length > OperationGenerator.MaxValueBytes) ? Status.TooLarge
            : parts.Count == 0 || twice >= 0 ? Status.Invalid
            : Status.Ok;
        if (status != Status.Ok)
        {
            return Line(status, 0, empty >= 0 ? empty : twice, 0, []);
        }

        for (int i = 0; i < parts.Count; i++)
        {
            ModelRecord? record = Find(parts[i].Key);
            bool holds = parts[i].Condition switch
            {
                ConditionKind.IfAbsent => record is null,
                ConditionKind.IfPresent => record is not null,
                ConditionKind.IfVersion => record is not null && record.Write == parts[i].ConditionWrite,
                ConditionKind.IfValue => record is not null && record.Value.AsSpan().SequenceEqual(parts[i].ConditionValue),
                _ => true,
            };
            if (!holds)
            {
                return Line(Status.ConditionFailed, 0, i, record?.Write ?? 0, []);
            }
        }

        return null;
    }

    private void Resolve(MetamorphicOperation part)
    {
        ModelRecord? record = Find(part.Key);
        part.ConditionWrite = part.Matching ? record?.Write ?? 0 : 0;
        part.ConditionValue = part.Matching && record is not null ? record.Value : "no value is this"u8.ToArray();
    }

    /// <summary>What a scan finds; null if it is refused.</summary>
    private List<(string Key, ModelRecord Record)>? Scan(MetamorphicOperation scan)
    {
        if (scan.Key.Length > 0 && scan.To.Length > 0 && string.CompareOrdinal(scan.Key, scan.To) > 0)
        {
            return null;
        }

        IEnumerable<KeyValuePair<string, ModelRecord>> records = _records.Where(pair =>
            IsWithin(pair.Key, scan.Key, scan.To) && pair.Key.StartsWith(scan.Prefix, StringComparison.Ordinal)
            && (scan.After.Length == 0 || (scan.Reverse ? string.CompareOrdinal(pair.Key, scan.After) < 0 : string.CompareOrdinal(pair.Key, scan.After) > 0)));
        IEnumerable<(string, ModelRecord)> ordered = (scan.Reverse ? records.Reverse() : records).Select(static pair => (pair.Key, pair.Value));
        bool isCursor = scan.Kind == OperationKind.OpenCursor;
        return [.. isCursor ? ordered : ordered.Where(r => r.Item2.IsAlive(_now)).Take(scan.Count == 0 ? int.MaxValue : scan.Count)];
    }

    private string Open(MetamorphicOperation scan)
    {
        _scans++;
        List<(string, ModelRecord)>? found = Scan(scan);
        _cursors[scan.Slot] = new Queue<(string, ModelRecord)>(found ?? []);
        _left[scan.Slot] = scan.Count == 0 ? int.MaxValue : scan.Count;
        _keysOnly[scan.Slot] = scan.KeysOnly;
        return found is null ? "Invalid" : "Ok";
    }

    // A cursor stands at its snapshot, but for what expires: that it leaves out from then on.
    private string Step(int slot, int steps)
    {
        StringBuilder text = new();
        while (steps > 0 && _left[slot] > 0 && _cursors[slot] is { } cursor && cursor.TryDequeue(out (string Key, ModelRecord Record) next))
        {
            if (next.Record.IsAlive(_now))
            {
                text.Append(Line(next.Key, next.Record.Write, next.Record.Value, _keysOnly[slot], next.Record.Stamp, next.Record.ExpiresAt));
                steps--;
                _left[slot]--;
            }
        }

        return text.ToString();
    }
}
