using System.Text;

namespace KeyVa.Simulation;

/// <summary>
/// What of an option set holds for a whole run: where the store lies, how its keys are split, whose jobs run when. The
/// number chooses the kind, so that twenty numbers meet every kind; the rest is chance.
/// </summary>
internal sealed record StoreLayout
{
    /// <summary>Keys that begin a partition, rising; one more partition than splits.</summary>
    public required string[] Splits { get; init; }

    public required EngineKind[] Engines { get; init; }

    /// <summary>Everything is lost at a close: it is never closed in the midst.</summary>
    public required bool Volatile { get; init; }

    public required bool OnDisk { get; init; }

    /// <summary>Threads of the store's own; else jobs run between operations, on the thread of the run.</summary>
    public required bool OwnThreads { get; init; }

    /// <summary>Jobs that may run after an operation, at most.</summary>
    public required int Jobs { get; init; }

    /// <summary>At how many boundaries of ten the store is opened anew.</summary>
    public required int ReopensOfTen { get; init; }

    public bool HasMemory => Engines.Contains(EngineKind.Memory);

    public static StoreLayout Draw(Random random, int number)
    {
        int splits = number % 4 == 3 ? random.Next(1, 4) : 0;
        string[] starts = [.. Enumerable.Range(0, splits).Select(_ => $"k{random.Next(1, 60):D3}").Distinct().Order(StringComparer.Ordinal)];
        bool isVolatile = number == 9;
        bool isMemory = isVolatile || number % 6 == 5;
        return new StoreLayout
        {
            Splits = starts,
            Engines = [.. Enumerable.Range(0, starts.Length + 1).Select(i => isMemory || (number % 8 == 7 && i % 2 == 1) ? EngineKind.Memory : EngineKind.Lsm)],
            Volatile = isVolatile,
            OnDisk = number == 12,
            OwnThreads = number is 12 or 14 or 19,
            Jobs = random.Next(4),
            ReopensOfTen = isVolatile ? 0 : random.Next(10),
        };
    }

    /// <summary>The range of a partition.</summary>
    public KeyRange Range(int partition) => new(
        partition == 0 ? default : Encoding.Latin1.GetBytes(Splits[partition - 1]),
        partition == Splits.Length ? default : Encoding.Latin1.GetBytes(Splits[partition]));

    public override string ToString() =>
        $"engines {string.Join(',', Engines)} split at [{string.Join(' ', Splits)}]{(Volatile ? " volatile" : "")} {(OnDisk ? "on disk" : "in memory")}, {(OwnThreads ? "threads of its own" : $"up to {Jobs} jobs between operations")}, opened anew at {ReopensOfTen}0 % of the boundaries";
}
