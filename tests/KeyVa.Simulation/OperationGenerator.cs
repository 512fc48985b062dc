using System.Text;

namespace KeyVa.Simulation;

/// <summary>Makes the operations of a seed. Everything follows from it.</summary>
internal sealed class OperationGenerator
{
    /// <summary>Cursors that may be open at once.</summary>
    public const int Slots = 3;

    /// <summary>The longest value that the stores of a run take; longer ones are refused, which is an answer too.</summary>
    public const int MaxValueBytes = 12 << 10;

    private readonly Random _random;
    private readonly string[] _keys;
    private readonly bool[] _open = new bool[Slots];
    private readonly int _longValueOneIn;
    private int _index;

    private OperationGenerator(int seed)
    {
        _random = new Random(seed);
        _keys = [.. Enumerable.Range(0, _random.Next(4, 120)).Select(KeyOf)];
        _longValueOneIn = _random.Next(4, 40);
    }

    public static List<MetamorphicOperation> Make(int seed)
    {
        OperationGenerator generator = new(seed);
        List<MetamorphicOperation> operations = [];
        int count = generator._random.Next(20, 260);
        while (operations.Count < count)
        {
            generator._index++;
            if (generator._random.Next(40) == 0)
            {
                generator.AddBoundary(operations);
            }
            else
            {
                operations.Add(generator.Next());
            }
        }

        generator.AddBoundary(operations);
        return operations;
    }

    // Keys that share long and short prefixes, with the bytes that bounds are made of at their ends, and very long ones.
    private static string KeyOf(int i) => (i % 29) switch
    {
        3 => $"k{i:D3}\0",
        7 => $"k\u00ff\u00ff{i}",
        11 => $"{new string('p', 40)}{i:D4}",
        12 => $"{new string('p', 40)}{i:D4}{new string('q', 20)}",
        17 => $"\u00ff{i}",
        19 => $"\0\0{i}",
        23 => $"long{new string('x', 1500)}{i}",
        _ => $"k{i:D3}",
    };

    private void AddBoundary(List<MetamorphicOperation> operations)
    {
        for (int slot = 0; slot < Slots; slot++)
        {
            if (_open[slot])
            {
                operations.Add(new MetamorphicOperation(_index++, OperationKind.CloseCursor) { Slot = slot });
                _open[slot] = false;
            }
        }

        operations.Add(new MetamorphicOperation(_index, OperationKind.Boundary));
    }

    private MetamorphicOperation Next()
    {
        switch (_random.Next(32))
        {
            case < 10:
                return Put(Key());
            case < 13:
                return Remove(Key());
            case 13 or 14:
                return Range(OperationKind.RemoveRange);
            case 15 or 16 or 17:
                return Batch();
            case 18 or 19 or 20:
                return new MetamorphicOperation(_index, OperationKind.Get) { Key = _random.Next(40) == 0 ? new string('z', _random.Next(2) * (Limits.MaxKeyBytes + 1)) : Key() };
            case 21:
                return new MetamorphicOperation(_index, OperationKind.MultiGet) { Parts = [.. Enumerable.Range(0, _random.Next(1, 9)).Select(_ => new MetamorphicOperation(_index, OperationKind.Get) { Key = Key() })] };
            case < 26:
                return Scan();
            case 26 or 27:
                return Cursor();
            case 28 or 29:
                return new MetamorphicOperation(_index, OperationKind.Advance) { Milliseconds = _random.Next(1, 6000) };
            case 30:
                return Range(OperationKind.Compact);
            default:
                return Put(Key());
        }
    }

    private string Key() => _keys[_random.Next(_keys.Length)];

    private string Bound() => _random.Next(5) switch
    {
        0 => "",
        1 => Key() + "\0",
        2 => Key() is { Length: > 1 } key ? key[..^1] : "k",
        _ => Key(),
    };

    private MetamorphicOperation Put(string key)
    {
        (long milliseconds, bool absolute) = _random.Next(8) switch
        {
            0 => (_random.Next(1, 9000), false),
            1 => (_random.Next(-3000, 40_000), true),
            _ => (0L, false),
        };
        ConditionKind condition = _random.Next(4) == 0 ? (ConditionKind)_random.Next(1, 5) : ConditionKind.None;
        return new MetamorphicOperation(_index, OperationKind.Put)
        {
            Key = key,
            Value = Value(),
            Milliseconds = milliseconds,
            Absolute = absolute && milliseconds != 0,
            Condition = condition,
            Matching = _random.Next(3) > 0,
        };
    }

    private MetamorphicOperation Remove(string key) => new(_index, OperationKind.Remove)
    {
        Key = key,
        Blind = _random.Next(3) == 0,
        Condition = _random.Next(4) == 0 ? (ConditionKind)_random.Next(1, 5) : ConditionKind.None,
        Matching = _random.Next(3) > 0,
    };

    private MetamorphicOperation Range(OperationKind kind)
    {
        string from = Bound();
        string to = Bound();
        bool swap = to.Length > 0 && string.CompareOrdinal(from, to) > 0 && _random.Next(12) > 0;
        return new MetamorphicOperation(_index, kind) { Key = swap ? to : from, To = swap ? from : to };
    }

    private MetamorphicOperation Batch()
    {
        IEnumerable<string> keys = Enumerable.Range(0, _random.Next(0, 12)).Select(_ => Key());
        bool mayRepeat = _random.Next(8) == 0;
        List<MetamorphicOperation> parts = [];
        foreach (string key in mayRepeat ? keys : keys.Distinct())
        {
            MetamorphicOperation part = _random.Next(4) == 0 ? Remove(key) : Put(key);
            parts.Add(_random.Next(4) == 0 ? part : part with { Condition = ConditionKind.None });
        }

        if (_random.Next(5) == 0)
        {
            parts.Insert(_random.Next(parts.Count + 1), Range(OperationKind.RemoveRange));
        }

        return new MetamorphicOperation(_index, OperationKind.Batch) { Parts = parts };
    }

    private MetamorphicOperation Scan()
    {
        MetamorphicOperation scan = Range(OperationKind.Scan) with
        {
            Reverse = _random.Next(3) == 0,
            KeysOnly = _random.Next(5) == 0,
            Count = _random.Next(3) == 0 ? _random.Next(1, 12) : 0,
            Prefix = _random.Next(4) == 0 && Key() is string key ? key[.._random.Next(1, Math.Min(key.Length, 4) + 1)] : "",
        };
        string after = _random.Next(4) == 0 ? Key() : "";
        bool within = string.CompareOrdinal(after, scan.Key) >= 0 && (scan.To.Length == 0 || string.CompareOrdinal(after, scan.To) < 0)
            && after.StartsWith(scan.Prefix, StringComparison.Ordinal);
        return within ? scan with { After = after } : scan;
    }

    private MetamorphicOperation Cursor()
    {
        int slot = _random.Next(Slots);
        if (!_open[slot])
        {
            _open[slot] = true;
            return Scan() with { Kind = OperationKind.OpenCursor, Slot = slot };
        }

        if (_random.Next(4) > 0)
        {
            return new MetamorphicOperation(_index, OperationKind.StepCursor) { Slot = slot, Count = _random.Next(1, 20) };
        }

        _open[slot] = false;
        return new MetamorphicOperation(_index, OperationKind.CloseCursor) { Slot = slot };
    }

    private byte[] Value()
    {
        int length = _random.Next(_longValueOneIn) > 0 ? _random.Next(80)
            : _random.Next(30) == 0 ? MaxValueBytes + _random.Next(2)
            : _random.Next(4000);
        byte[] value = new byte[length];
        if (_random.Next(3) == 0)
        {
            _random.NextBytes(value);
        }
        else
        {
            // What a codec or a dictionary makes something of.
            byte[] word = Encoding.ASCII.GetBytes($"{_index}-the same words again;");
            for (int i = 0; i < length; i++)
            {
                value[i] = word[i % word.Length];
            }
        }

        return value;
    }
}
