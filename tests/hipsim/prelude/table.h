// From a kernel's C++ signature: where its arguments lie, and how to call it with them.
#pragma once

namespace hipsim {

template <class T>
struct Plain {
  using type = T;
  static constexpr Role role = Role::value;
};
template <class T>
struct Plain<const T> : Plain<T> {};
template <class T>
struct Plain<T*> {
  using type = T*;
  static constexpr Role role = Role::output;
};
template <class T>
struct Plain<const T*> {
  using type = const T*;
  static constexpr Role role = Role::input;
};
template <class T>
struct Plain<T* const> : Plain<T*> {};

template <class Function>
struct Signature;

template <class... Arguments>
struct Signature<void (*)(Arguments...)> {
  static constexpr unsigned count = sizeof...(Arguments);
  struct Layout {
    unsigned offsets[count + 1], sizes[count + 1], bytes;
    Role roles[count + 1];
  };
  static constexpr Layout make() {
    Layout layout{};
    const unsigned sizes[] = {(unsigned)sizeof(Arguments)..., 0};
    const unsigned alignments[] = {(unsigned)alignof(Arguments)..., 1};
    const Role roles[] = {Plain<Arguments>::role..., Role::value};
    unsigned offset = 0;
    for (unsigned i = 0; i < count; i++) {
      offset = (offset + alignments[i] - 1) / alignments[i] * alignments[i];
      layout.offsets[i] = offset;
      layout.sizes[i] = sizes[i];
      layout.roles[i] = roles[i];
      offset += sizes[i];
    }
    layout.bytes = offset;
    return layout;
  }
  static constexpr Layout layout = make();
  template <unsigned... I>
  struct Indices {};
  template <unsigned... I>
  static void call(void (*kernel)(Arguments...), char* arguments, Indices<I...>) {
    kernel(*(typename Plain<Arguments>::type*)(arguments + layout.offsets[I])...);
  }
  static void call(void (*kernel)(Arguments...), char* arguments) {
    call(kernel, arguments, Indices<__integer_pack(count)...>{});
  }
};

template <auto kernel>
void call(char* arguments) {
  Signature<decltype(kernel)>::call(kernel, arguments);
}

template <auto kernel>
constexpr Kernel describe(const char* name) {
  using S = Signature<decltype(kernel)>;
  return {name,           call<kernel>,        S::count,       S::layout.offsets,
          S::layout.sizes, S::layout.roles, S::layout.bytes};
}

}  // namespace hipsim
