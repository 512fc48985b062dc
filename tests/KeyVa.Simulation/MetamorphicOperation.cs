using System.Globalization;
using System.Text;

namespace KeyVa.Simulation;

/// <summary>What a metamorphic run does next.</summary>
internal enum OperationKind
{
    Put,
    Remove,
    RemoveRange,
    Batch,
    Get,
    MultiGet,
    Scan,
    OpenCursor,
    StepCursor,
    CloseCursor,
    Advance,
    Compact,

    /// <summary>No cursor is open: each option set may close, kill, copy and reopen the store here, or not.</summary>
    Boundary,
}

/// <summary>
/// One operation, the same under every option set. It names keys and earlier writes, never versions, which a store gives
/// out: so it means something by itself, whatever others are left out.
/// </summary>
internal sealed record MetamorphicOperation(int Index, OperationKind Kind)
{
    /// <summary>The key; the inclusive lower bound of a range.</summary>
    public string Key { get; init; } = "";

    /// <summary>The exclusive upper bound of a range.</summary>
    public string To { get; init; } = "";

    public string Prefix { get; init; } = "";

    public string After { get; init; } = "";

    public byte[] Value { get; init; } = [];

    public ConditionKind Condition { get; init; }

    /// <summary>A condition on version or value asks for what is there (true) or for something else.</summary>
    public bool Matching { get; init; }

    /// <summary>Milliseconds until the key expires, or by which the clock advances; 0: none.</summary>
    public long Milliseconds { get; init; }

    /// <summary>The expiry is a moment, <see cref="Milliseconds"/> from the beginning of the run.</summary>
    public bool Absolute { get; init; }

    public bool Blind { get; init; }

    public bool Reverse { get; init; }

    public bool KeysOnly { get; init; }

    /// <summary>The limit of a scan, the steps of a cursor.</summary>
    public int Count { get; init; }

    /// <summary>Which of the held cursors.</summary>
    public int Slot { get; init; }

    /// <summary>The operations of a batch, the keys of a read of several.</summary>
    public IReadOnlyList<MetamorphicOperation> Parts { get; init; } = [];

    /// <summary>Set by the model: the write whose version the condition asks for; 0: one that never was.</summary>
    public int ConditionWrite { get; set; }

    /// <summary>Set by the model: the value that the condition asks for.</summary>
    public byte[] ConditionValue { get; set; } = [];

    /// <summary>A line to reproduce it by.</summary>
    public override string ToString()
    {
        StringBuilder text = new();
        text.Append(CultureInfo.InvariantCulture, $"{Index} {Kind}");
        Append(text, "key", Text(Key), Key.Length > 0);
        Append(text, "to", Text(To), To.Length > 0);
        Append(text, "prefix", Text(Prefix), Prefix.Length > 0);
        Append(text, "after", Text(After), After.Length > 0);
        Append(text, "value", $"{Value.Length} bytes", Value.Length > 0);
        Append(text, "if", $"{Condition} {(Matching ? "matching" : "other")}", Condition != ConditionKind.None);
        Append(text, Absolute ? "ms at" : "ms", Milliseconds, Milliseconds != 0);
        Append(text, "flags", $"{(Blind ? "blind " : "")}{(Reverse ? "reverse " : "")}{(KeysOnly ? "keys" : "")}", Blind || Reverse || KeysOnly);
        Append(text, "count", Count, Count != 0);
        Append(text, "slot", Slot, Kind is OperationKind.OpenCursor or OperationKind.StepCursor or OperationKind.CloseCursor);
        foreach (MetamorphicOperation part in Parts)
        {
            text.Append("\n    ").Append(part);
        }

        return text.ToString();
    }

    /// <summary>A key for a person: what is not printable as hexadecimal, a long run cut.</summary>
    public static string Text(string key)
    {
        StringBuilder text = new();
        foreach (char c in key.Length > 64 ? key[..24] + ".." + key[^24..] : key)
        {
            text.Append(c is > ' ' and < '\u007f' ? c.ToString() : $"\\x{(int)c:x2}");
        }

        return key.Length > 64 ? $"{text}({key.Length})" : text.ToString();
    }

    private static void Append(StringBuilder text, string name, object value, bool present)
    {
        if (present)
        {
            text.Append(CultureInfo.InvariantCulture, $" {name}={value}");
        }
    }
}
