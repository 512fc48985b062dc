using System.Globalization;
using System.Text;
using KeyVa.Io;

namespace KeyVa.Merges;

/// <summary>The merge functions that a store knows: KeyVa's own by number, its program's by name and version. Immutable.</summary>
internal sealed class MergeRegistry
{
    private readonly MergeFunction?[] _builtIn;
    private readonly Registered[] _custom;

    /// <exception cref="StoreException">A function has a name or version that it must not have.</exception>
    public MergeRegistry(IReadOnlyList<MergeFunction> custom)
    {
        _builtIn = new MergeFunction?[MergeFunction.BuiltIn.Max(static function => function.Number) + 1];
        foreach (MergeFunction function in MergeFunction.BuiltIn)
        {
            _builtIn[function.Number] = function;
        }

        _custom = new Registered[custom.Count];
        for (int i = 0; i < _custom.Length; i++)
        {
            Check(custom[i], custom.Take(i));
            _custom[i] = new Registered(Encoding.UTF8.GetBytes(custom[i].Name), custom[i].Version, custom[i]);
        }
    }

    /// <summary>KeyVa's own functions alone.</summary>
    public static MergeRegistry OfBuiltIn { get; } = new([]);

    /// <summary>Whether a function can be called by what the journal will hold of it.</summary>
    public bool Knows(MergeFunction function) =>
        function.Number != 0 || Array.Exists(_custom, one => one.Function.Name == function.Name && one.Version == function.Version);

    /// <summary>The function of a name, and of a version (0: the newest); null if there is none.</summary>
    public MergeFunction? Find(string name, int version)
    {
        if (MergeFunction.Find(name) is { } builtIn)
        {
            return version == 0 || version == builtIn.Version ? builtIn : null;
        }

        MergeFunction? found = null;
        foreach (Registered one in _custom)
        {
            if (one.Function.Name == name && (version == 0 ? one.Version > (found?.Version ?? 0) : one.Version == version))
            {
                found = one.Function;
            }
        }

        return found;
    }

    /// <summary>What is said of a name that <see cref="Find"/> does not know.</summary>
    public string Describe(string name, int version)
    {
        string asked = version == 0 ? $"'{name}'" : string.Create(CultureInfo.InvariantCulture, $"'{name}' version {version}");
        IEnumerable<string> known = MergeFunction.BuiltIn.Concat(_custom.Select(static one => one.Function)).Select(static function => function.Name).Distinct();
        return $"the merge function {asked} is not known; known are: {string.Join(", ", known)}";
    }

    /// <summary>The function that an operation names (see MergeEncoding).</summary>
    /// <exception cref="StoreException">It is not known here.</exception>
    public MergeFunction Resolve(ReadOnlySpan<byte> function)
    {
        function = function[Varint.Read(function, out ulong number)..];
        if (number != 0)
        {
            return (number < (ulong)_builtIn.Length ? _builtIn[number] : null)
                ?? throw new StoreException(string.Create(
                    CultureInfo.InvariantCulture, $"the journal holds a merge by KeyVa's function number {number}, which this version does not know; use a newer KeyVa for this data folder"));
        }

        function = function[Varint.Read(function, out ulong length)..];
        ReadOnlySpan<byte> name = function[..(int)length];
        Varint.Read(function[(int)length..], out ulong version);
        foreach (Registered one in _custom)
        {
            if (one.Version == (int)version && name.SequenceEqual(one.Name))
            {
                return one.Function;
            }
        }

        throw Unknown(Encoding.UTF8.GetString(name), (int)version);
    }

    private static StoreException Unknown(string name, int version) => new(string.Create(
        CultureInfo.InvariantCulture,
        $"the journal holds a merge by the function '{name}' version {version}, which this program has not registered; open the store with it in StoreOptions.MergeFunctions"));

    /// <summary>Lower-case letters, digits, dots, underscores and hyphens.</summary>
    private static bool IsName(string name) =>
        name.Length is > 0 and <= MergeFunction.MaxNameLength && name.All(static c => char.IsAsciiLetterLower(c) || char.IsAsciiDigit(c) || c is '.' or '_' or '-');

    private static void Check(MergeFunction function, IEnumerable<MergeFunction> before)
    {
        string named = string.Create(CultureInfo.InvariantCulture, $"the merge function '{function.Name}' version {function.Version}");
        if (function.Number != 0 || MergeFunction.Find(function.Name) is not null)
        {
            throw new StoreException($"{named} has the name of one of KeyVa's own, which need not be registered; give it another name");
        }

        if (!IsName(function.Name) || function.Version < 1)
        {
            throw new StoreException($"{named} must have a name of 1 to {MergeFunction.MaxNameLength} lower-case letters, digits, dots, underscores and hyphens, and a version from 1");
        }

        if (before.Any(other => other.Name == function.Name && other.Version == function.Version))
        {
            throw new StoreException($"{named} is registered twice");
        }
    }

    private readonly record struct Registered(byte[] Name, int Version, MergeFunction Function);
}
