using System.Buffers.Binary;
using System.Numerics;
using System.Text;
using KeyVa.Protocol.Resp;
using KeyVa.Server.Identity;

namespace KeyVa.Server.Resp;

/// <summary>
/// All commands by name: a perfect hash, made when the program starts, of the letters of a name as two numbers. Finding one compares two numbers and
/// allocates nothing.
/// </summary>
internal static class CommandTable
{
    private const int LongestName = 16;

    // All names are letters; without this bit a lower-case letter is its upper-case one, and nothing else becomes a letter.
    private const ulong UpperCase = 0xDFDFDFDFDFDFDFDF;

    private static readonly Slot[] Slots;
    private static readonly ulong Multiplier;
    private static readonly int Shift;

    static CommandTable()
    {
        All = [.. StringCommands.All, .. CounterCommands.All, .. KeyCommands.All, .. ExpiryCommands.All, .. ScanCommands.All, .. TransactionCommands.All,
            .. ConnectionCommands.All, .. ServerCommands.All, .. PubSubCommands.All];
        foreach (CommandInfo command in All)
        {
            command.Classify();
        }

        foreach (CommandInfo command in All.SelectMany(static one => one.Subcommands.Prepend(one)))
        {
            command.Permission = PermissionTable.OfResp(command.Name) ?? PermissionTable.Missing;
        }

        (Slots, Multiplier, Shift) = Build(All);
        Set = Find("set"u8)!;
        Get = Find("get"u8)!;
    }

    /// <summary>Every command.</summary>
    public static CommandInfo[] All { get; }

    /// <summary>SET, which sessions gather.</summary>
    public static CommandInfo Set { get; }

    /// <summary>GET, which sessions answer at once.</summary>
    public static CommandInfo Get { get; }

    /// <summary>The command of a name in any case; null if there is none.</summary>
    public static CommandInfo? Find(ReadOnlySpan<byte> name)
    {
        if ((uint)(name.Length - 1) >= LongestName)
        {
            return null;
        }

        (ulong low, ulong high) = Letters(name);
        ref readonly Slot slot = ref Slots[(int)(((low ^ BitOperations.RotateLeft(high, 29)) * Multiplier) >> Shift)];

        // The length tells "get" from "get " and "get\0", whose last bytes vanish with the case.
        return slot.Low == low && slot.High == high && slot.Command is { } command && command.Name.Length == name.Length ? command : null;
    }

    /// <summary>The command that came, its subcommand if it has some; null if there is none.</summary>
    public static CommandInfo? FindWhole(RespCommand command)
    {
        CommandInfo? info = Find(command[0]);
        return info is { Subcommands.Length: > 0 } && command.Count > 1 ? FindSubcommand(info, command[1]) : info;
    }

    /// <summary>A subcommand; null if there is none.</summary>
    public static CommandInfo? FindSubcommand(CommandInfo command, ReadOnlySpan<byte> name)
    {
        foreach (CommandInfo one in command.Subcommands)
        {
            if (Ascii.EqualsIgnoreCase(name, one.Name.AsSpan(command.Name.Length + 1)))
            {
                return one;
            }
        }

        return null;
    }

    private static (ulong Low, ulong High) Letters(ReadOnlySpan<byte> name)
    {
        if (name.Length <= 8)
        {
            return (Eight(name) & UpperCase, 0);
        }

        return (BinaryPrimitives.ReadUInt64LittleEndian(name) & UpperCase, Eight(name[8..]) & UpperCase);
    }

    private static ulong Eight(ReadOnlySpan<byte> bytes)
    {
        ulong all = 0;
        for (int i = 0; i < bytes.Length; i++)
        {
            all |= (ulong)bytes[i] << (8 * i);
        }

        return all;
    }

    private static (Slot[] Slots, ulong Multiplier, int Shift) Build(CommandInfo[] commands)
    {
        // The first multiplier that sends no two names to one slot; the seed is fixed, so every start finds the same one.
        int bits = BitOperations.Log2((uint)commands.Length) + 4;
        Random random = new(7403);
        while (true)
        {
            ulong multiplier = (ulong)random.NextInt64() * 2 + 1;
            Slot[] slots = new Slot[1 << bits];
            if (commands.All(command => TryPlace(slots, command, multiplier, 64 - bits)))
            {
                return (slots, multiplier, 64 - bits);
            }
        }
    }

    private static bool TryPlace(Slot[] slots, CommandInfo command, ulong multiplier, int shift)
    {
        (ulong low, ulong high) = Letters(Encoding.ASCII.GetBytes(command.Name));
        ref Slot slot = ref slots[(int)(((low ^ BitOperations.RotateLeft(high, 29)) * multiplier) >> shift)];
        bool isFree = slot.Command is null;
        slot = new Slot(low, high, command);
        return isFree;
    }

    private readonly record struct Slot(ulong Low, ulong High, CommandInfo? Command);
}
