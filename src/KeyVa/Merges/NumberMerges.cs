using System.Buffers;
using System.Globalization;

namespace KeyVa.Merges;

/// <summary><see cref="MergeFunction.Increment"/>. Stateless.</summary>
internal sealed class IncrementMerge : MergeFunction
{
    /// <summary>The longest decimal text of 64 bits.</summary>
    public const int MaxDigits = 20;

    public override string Name => "increment";

    internal override int Number => 1;

    /// <summary>A number as operand; <paramref name="text"/> has room for <see cref="MaxDigits"/>.</summary>
    public static ReadOnlySpan<byte> Operand(long delta, Span<byte> text)
    {
        delta.TryFormat(text, out int length, default, CultureInfo.InvariantCulture);
        return text[..length];
    }

    /// <summary>A number as operand.</summary>
    public static byte[] Operand(long delta) => Operand(delta, stackalloc byte[MaxDigits]).ToArray();

    public override string? Merge(in MergeInput input, IBufferWriter<byte> result)
    {
        if (!DecimalText.TryReadWhole(input.Operand, out long delta))
        {
            return $"the operand is no whole number of 64 bits in decimal, but {DecimalText.Quote(input.Operand)}";
        }

        long number = 0;
        if (input.Exists && !DecimalText.TryReadWhole(input.Existing, out number))
        {
            return $"the key's value is no whole number of 64 bits in decimal, but {DecimalText.Quote(input.Existing)}";
        }

        long sum = unchecked(number + delta);
        if (((number ^ sum) & (delta ^ sum)) < 0)
        {
            return string.Create(CultureInfo.InvariantCulture, $"the sum of {number} and {delta} is beyond 64 bits");
        }

        sum.TryFormat(result.GetSpan(MaxDigits), out int written, default, CultureInfo.InvariantCulture);
        result.Advance(written);
        return null;
    }
}

/// <summary><see cref="MergeFunction.IncrementFloat"/>. Stateless.</summary>
internal sealed class IncrementFloatMerge : MergeFunction
{
    /// <summary>The longest shortest text of a double, such as -2.2250738585072014E-308.</summary>
    private const int MaxText = 32;

    public override string Name => "increment-float";

    internal override int Number => 2;

    public override string? Merge(in MergeInput input, IBufferWriter<byte> result)
    {
        if (!DecimalText.TryRead(input.Operand, out double delta))
        {
            return $"the operand is no decimal number in the range of a double, but {DecimalText.Quote(input.Operand)}";
        }

        double number = 0;
        if (input.Exists && !DecimalText.TryRead(input.Existing, out number))
        {
            return $"the key's value is no decimal number in the range of a double, but {DecimalText.Quote(input.Existing)}";
        }

        double sum = number + delta;
        if (!double.IsFinite(sum))
        {
            return string.Create(CultureInfo.InvariantCulture, $"the sum of {number} and {delta} is beyond the range of a double");
        }

        // Negative zero is nobody's sum.
        sum = sum == 0 ? 0 : sum;
        sum.TryFormat(result.GetSpan(MaxText), out int written, "R", CultureInfo.InvariantCulture);
        result.Advance(written);
        return null;
    }
}

/// <summary><see cref="MergeFunction.Min"/> and <see cref="MergeFunction.Max"/>. Stateless.</summary>
internal sealed class ExtremeMerge(string name, int number, bool keepsGreater) : MergeFunction
{
    public override string Name => name;

    internal override int Number => number;

    public override string? Merge(in MergeInput input, IBufferWriter<byte> result)
    {
        if (!DecimalText.TryRead(input.Operand, out double operand))
        {
            return $"the operand is no decimal number in the range of a double, but {DecimalText.Quote(input.Operand)}";
        }

        if (!input.Exists)
        {
            result.Write(input.Operand);
            return null;
        }

        if (!DecimalText.TryRead(input.Existing, out double existing))
        {
            return $"the key's value is no decimal number in the range of a double, but {DecimalText.Quote(input.Existing)}";
        }

        int order = DecimalText.TryReadWhole(input.Operand, out long wholeOperand) && DecimalText.TryReadWhole(input.Existing, out long wholeExisting)
            ? wholeOperand.CompareTo(wholeExisting)
            : Compare(operand, existing);
        result.Write((keepsGreater ? order > 0 : order < 0) ? input.Operand : input.Existing);
        return null;
    }

    // CompareTo would put negative zero below zero.
    private static int Compare(double left, double right) => left < right ? -1 : left > right ? 1 : 0;
}

/// <summary><see cref="MergeFunction.Append"/>. Stateless.</summary>
internal sealed class AppendMerge : MergeFunction
{
    public override string Name => "append";

    internal override int Number => 3;

    public override string? Merge(in MergeInput input, IBufferWriter<byte> result)
    {
        result.Write(input.Existing);
        result.Write(input.Operand);
        return null;
    }
}
