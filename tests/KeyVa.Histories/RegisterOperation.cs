using System.Globalization;

namespace KeyVa.Histories;

/// <summary>What a register is asked for.</summary>
public enum RegisterAction : byte
{
    /// <summary>Reads the value, or that there is none.</summary>
    Read,

    /// <summary>Writes a value.</summary>
    Write,

    /// <summary>Writes (or removes) if the register holds what is expected, else leaves it. Both are answers.</summary>
    CompareAndSet,

    /// <summary>Removes the value; the answer says whether there was one.</summary>
    Remove,
}

/// <summary>One operation on one register. A register holds a number or nothing (null). Immutable.</summary>
public readonly record struct RegisterOperation
{
    /// <summary>The completion of what never completed.</summary>
    public const long Never = long.MaxValue;

    public required int Process { get; init; }

    public required int Key { get; init; }

    public required RegisterAction Action { get; init; }

    public required Outcome Outcome { get; init; }

    /// <summary>When it began.</summary>
    public required long Invoked { get; init; }

    /// <summary>When its answer was there; <see cref="Never"/> if the outcome is unknown.</summary>
    public required long Completed { get; init; }

    /// <summary>What a compare-and-set expects; null: that there is nothing.</summary>
    public int? Expected { get; init; }

    /// <summary>What was read, or is to be written; null: nothing (a compare-and-set then removes).</summary>
    public int? Value { get; init; }

    /// <summary>The answer of a compare-and-set (it held) or of a removal (there was something); null: not told.</summary>
    public bool? Held { get; init; }

    /// <summary>The operation in words, without key and times.</summary>
    public string Describe() => Action switch
    {
        RegisterAction.Read => Outcome == Outcome.Ok ? $"read {Text(Value)}" : "read ?",
        RegisterAction.Write => $"write {Text(Value)}",
        RegisterAction.CompareAndSet => $"cas {Text(Expected)} {Text(Value)} {Text(Held)}",
        _ => $"remove {Text(Held)}",
    };

    internal static string Text(int? value) => value?.ToString(CultureInfo.InvariantCulture) ?? "-";

    private static string Text(bool? held) => held switch { true => "yes", false => "no", null => "?" };
}
