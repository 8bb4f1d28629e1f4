//! Parameters by name, for optimizers and checkpoints.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{FloatDType, Gradients, Shape, Tensor};

use crate::llama::Llama;

/// Flat tensors without a graph, by the names of their parameters.
pub type NamedTensors = BTreeMap<String, Tensor<1>>;

/// Adds each gradient to the sum for its parameter.
pub fn accumulate(sum: &mut NamedTensors, part: NamedTensors) {
    for (name, gradient) in part {
        let total = match sum.remove(&name) {
            Some(before) => before + gradient,
            None => gradient,
        };
        sum.insert(name, total);
    }
}

/// A parameter of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterInfo {
    /// The name in a Hugging Face checkpoint. The matrices of an adapter are
    /// `<layer>.lora_A.weight` and `<layer>.lora_B.weight`.
    pub name: String,
    /// Its shape, as in a checkpoint.
    pub shape: Vec<usize>,
    /// Whether gradients are computed for it. Always false on a device without autodiff.
    pub trainable: bool,
}

/// A parameter that is to be replaced. Value and gradient are flat and without a graph.
#[derive(Debug)]
pub struct ParameterUpdate {
    /// Its name, as in [`ParameterInfo`].
    pub name: String,
    /// Its value.
    pub value: Tensor<1>,
    /// Its gradient.
    pub gradient: Tensor<1>,
}

impl Llama {
    /// All parameters, in a fixed order. Weights in NF4 are none: they cannot be trained.
    pub fn parameters(&self) -> Vec<ParameterInfo> {
        let mut list = List {
            path: Path::default(),
            parameters: Vec::new(),
        };
        self.visit(&mut list);
        list.parameters
    }

    /// The values of all parameters in f32, without a graph.
    pub fn values(&self) -> NamedTensors {
        self.values_of(|_| true)
    }

    /// The values of the parameters whose names are wanted, likewise. Those in half precision take
    /// twice their memory in f32.
    pub fn values_of(&self, is_wanted: impl Fn(&str) -> bool) -> NamedTensors {
        self.collected(Collected::Values(&is_wanted))
    }

    /// Removes the gradients of the trainable parameters from what `loss.backward()` returned. A
    /// parameter that the loss does not depend on has none.
    pub fn take_gradients(&self, gradients: &mut Gradients) -> NamedTensors {
        self.collected(Collected::Gradients(gradients))
    }

    fn collected(&self, what: Collected<'_>) -> NamedTensors {
        let mut collect = Collect {
            path: Path::default(),
            what,
            found: BTreeMap::new(),
        };
        self.visit(&mut collect);
        collect.found
    }

    /// Replaces each parameter that has a gradient by what `update(name, value, gradient)` returns.
    /// Values and gradients are flat and without a graph. The new parameter is a leaf again.
    ///
    /// Unless a clone of the model is alive, only `update` holds a value, so that Burn's operations
    /// reuse its memory.
    pub fn update(
        self,
        gradients: NamedTensors,
        mut update: impl FnMut(&str, Tensor<1>, Tensor<1>) -> Tensor<1>,
    ) -> Self {
        let mut one = |part: ParameterUpdate| update(&part.name, part.value, part.gradient);
        self.update_together(gradients, |parts| parts.into_iter().map(&mut one).collect())
    }

    /// [`Llama::update`] of all these parameters at once. `update` returns their new values in the
    /// same order.
    ///
    /// # Panics
    ///
    /// Where it returns more or fewer values than it got.
    pub fn update_together(
        self,
        gradients: NamedTensors,
        update: impl FnOnce(Vec<ParameterUpdate>) -> Vec<Tensor<1>>,
    ) -> Self {
        let mut take = Take {
            path: Path::default(),
            gradients,
            taken: Vec::new(),
            shapes: Vec::new(),
        };
        let model = self.map(&mut take);
        let values = update(take.taken);
        assert_eq!(values.len(), take.shapes.len(), "a value of each parameter");
        let values = take.shapes.into_iter().zip(values);
        model.map(&mut Put {
            path: Path::default(),
            values: values
                .map(|((name, shape), value)| (name, (shape, value)))
                .collect(),
        })
    }
}

/// The fields from the model's root to a parameter.
#[derive(Default)]
struct Path(Vec<String>);

impl Path {
    /// The variant of an enum is no part of a parameter's name.
    fn is_part(container: &str) -> bool {
        !container.starts_with("Enum:")
    }

    fn enter(&mut self, name: &str, container: &str) {
        if Self::is_part(container) {
            self.0.push(name.into());
        }
    }

    fn exit(&mut self, container: &str) {
        if Self::is_part(container) {
            self.0.pop();
        }
    }

    fn name(&self) -> String {
        let path = self.0.join(".");
        match path.strip_suffix(".lora.a") {
            Some(layer) => format!("{layer}.lora_A.weight"),
            None => match path.strip_suffix(".lora.b") {
                Some(layer) => format!("{layer}.lora_B.weight"),
                None => path,
            },
        }
    }
}

macro_rules! follow_path {
    () => {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }

        fn exit_module(&mut self, _name: &str, container: &str) {
            self.path.exit(container);
        }
    };
}

struct List {
    path: Path,
    parameters: Vec<ParameterInfo>,
}

impl ModuleVisitor for List {
    follow_path!();

    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        self.parameters.push(ParameterInfo {
            name: self.path.name(),
            shape: parameter.dims().to_vec(),
            trainable: parameter.is_require_grad(),
        });
    }
}

/// What is collected.
enum Collected<'a> {
    /// The gradients of all parameters that have some.
    Gradients(&'a mut Gradients),
    /// The values of the parameters with such a name.
    Values(&'a dyn Fn(&str) -> bool),
}

struct Collect<'a> {
    path: Path,
    what: Collected<'a>,
    found: NamedTensors,
}

impl ModuleVisitor for Collect<'_> {
    follow_path!();

    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let name = self.path.name();
        let tensor = match &mut self.what {
            Collected::Gradients(gradients) => parameter.val().grad_remove(gradients),
            Collected::Values(is_wanted) => {
                is_wanted(&name).then(|| parameter.val().inner().cast(FloatDType::F32))
            }
        };
        if let Some(tensor) = tensor {
            self.found.insert(name, flat(tensor));
        }
    }
}

/// Takes the values of the parameters that have a gradient out of a model.
struct Take {
    path: Path,
    gradients: NamedTensors,
    taken: Vec<ParameterUpdate>,
    /// By name, in the order of the parameters.
    shapes: Vec<(String, Shape)>,
}

impl ModuleMapper for Take {
    follow_path!();

    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.name();
        let Some(gradient) = self.gradients.remove(&name) else {
            return parameter;
        };
        parameter.map(|value| {
            self.shapes.push((name.clone(), value.shape()));
            // As small as a tensor can be, and with the graph's settings.
            let stand_in = Tensor::empty([1; D], &value.device());
            self.taken.push(ParameterUpdate {
                name,
                value: flat(value.inner()),
                gradient,
            });
            stand_in
        })
    }
}

/// Gives the parameters of these names new values. They are leaves again.
struct Put {
    path: Path,
    values: BTreeMap<String, (Shape, Tensor<1>)>,
}

impl ModuleMapper for Put {
    follow_path!();

    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some((shape, value)) = self.values.remove(&self.path.name()) else {
            return parameter;
        };
        parameter.map(|stand_in| {
            let value = value.reshape(shape);
            match stand_in.gradient_checkpointing_strategy() {
                Some(strategy) => value
                    .autodiff()
                    .with_gradient_checkpointing_strategy(strategy)
                    .require_grad(),
                None => value,
            }
        })
    }
}

fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let elements = tensor.shape().num_elements();
    tensor.reshape([elements])
}
