using System.Buffers;
using KeyVa.Merges;

namespace KeyVa;

/// <summary>
/// Makes a key's new value from the value that it has and an operand. It is called when the write is applied, in the order of the
/// log: so two merges of a key never conflict, and none is lost.
/// </summary>
/// <remarks>
/// The static properties are KeyVa's own functions. A program that embeds a store may derive its own and register them with
/// <see cref="StoreOptions.MergeFunctions"/>. Such a function must be deterministic: it depends on its input alone, never on time, chance, culture or
/// anything outside, for the log is applied again after a crash and must come to the same values. So a function that is
/// to work differently gets a higher <see cref="Version"/>, and the old one stays registered for as long as a journal may
/// hold it. It is called by the writer of a partition, which waits for it, from any thread, one call per partition at a time. It
/// must not throw: a partition whose function throws stops.
/// </remarks>
public abstract class MergeFunction
{
    /// <summary>The longest <see cref="Name"/>.</summary>
    public const int MaxNameLength = 64;

    /// <summary>
    /// Adds the operand to the value, both whole numbers of 64 bits in decimal (<c>-7</c>); a key that is not there counts as 0.
    /// Refused: what is no such number, and a sum beyond 64 bits.
    /// </summary>
    public static MergeFunction Increment { get; } = new IncrementMerge();

    /// <summary>
    /// Adds the operand to the value, both decimal numbers (<c>1.5</c>, <c>2e-3</c>) of IEEE 754's double precision; a key that is not there
    /// counts as 0. The result is the shortest text that reads as the same number. Refused: what is no number, and infinite sums.
    /// </summary>
    public static MergeFunction IncrementFloat { get; } = new IncrementFloatMerge();

    /// <summary>Puts the operand behind the value; a key that is not there counts as empty.</summary>
    public static MergeFunction Append { get; } = new AppendMerge();

    /// <summary>
    /// Keeps the lesser of value and operand, both decimal numbers; a key that is not there gets the operand. Whole numbers of 64 bits are compared
    /// exactly, others as doubles. The lesser's own bytes stay; of equal ones the value's.
    /// </summary>
    public static MergeFunction Min { get; } = new ExtremeMerge("min", 4, keepsGreater: false);

    /// <summary>As <see cref="Min"/>, but keeps the greater.</summary>
    public static MergeFunction Max { get; } = new ExtremeMerge("max", 5, keepsGreater: true);

    /// <summary>
    /// Applies the operand, a JSON merge patch (RFC 7396), to the value, a JSON text; a key that is not there gets what the patch makes of nothing.
    /// Members that the patch does not name keep their text. Refused: what is no JSON, or nested more than 64 deep.
    /// </summary>
    public static MergeFunction JsonMergePatch { get; } = new JsonPatchMerge();

    /// <summary>
    /// Adds the elements of the operand, a JSON array, to those of the value, a JSON array taken as a set; a key that is not there counts as empty.
    /// Elements are the same if their JSON values are (<c>1.0</c> is <c>1</c>; the order of members does not matter); the first
    /// stays, in its place. Refused: what is no JSON array, or nested more than 64 deep.
    /// </summary>
    public static MergeFunction SetUnion { get; } = new SetUnionMerge();

    /// <summary>KeyVa's own functions.</summary>
    public static IReadOnlyList<MergeFunction> BuiltIn { get; } = [Increment, IncrementFloat, Append, Min, Max, JsonMergePatch, SetUnion];

    /// <summary>Its name in the journal and on the wire: 1 to 64 lower-case letters, digits, dots, underscores and hyphens.</summary>
    public abstract string Name { get; }

    /// <summary>From 1; rises when the function comes to other results than before.</summary>
    public virtual int Version => 1;

    /// <summary>The number by which the journal knows KeyVa's own functions; 0: it is none of them.</summary>
    internal virtual int Number => 0;

    /// <summary>KeyVa's own function of a name; null if there is none.</summary>
    public static MergeFunction? Find(string name)
    {
        foreach (MergeFunction function in BuiltIn)
        {
            if (function.Name == name)
            {
                return function;
            }
        }

        return null;
    }

    /// <summary>
    /// Writes the new value into <paramref name="result"/>. Null: done; otherwise why the merge is refused, in words for a person, and
    /// nothing of the whole write happens.
    /// </summary>
    public abstract string? Merge(in MergeInput input, IBufferWriter<byte> result);
}
